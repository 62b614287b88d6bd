"""What watching costs, as ratios: `python -m benchmarks.speed`."""
