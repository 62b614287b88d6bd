"""What a run leaves behind: pictures, records, reports, lines in loggers."""
