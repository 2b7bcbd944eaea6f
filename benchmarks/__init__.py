"""Benchmarks: ours beside its peers, alternately in one run."""
