"""Measurements: ratios with both sides in one process, never absolute times."""
