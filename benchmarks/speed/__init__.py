"""What monitoring costs, as ratios of two calls timed in turns: `python -m benchmarks.speed`."""
