"""What Collegium costs, measured: `make bench` writes `benchmarks/results.json`."""
