"""What several test suites and the benchmarks share."""
