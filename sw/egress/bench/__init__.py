"""Benchmarks: what is claimed of speed and size, beside others' in the same run."""
