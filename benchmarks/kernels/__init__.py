"""Benchmarks of the kernels, one call at a time: against scikit-learn and the machine's limits."""
