"""Measurements of cost and of how well alerts work; each command takes `--quick` and `--json`."""
