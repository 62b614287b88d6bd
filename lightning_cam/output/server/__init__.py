"""The report's page, served while runs grow."""
