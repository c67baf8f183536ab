"""Speed, as ratios: `python -m benchmarks` runs all, `python -m benchmarks.NAME` one."""
