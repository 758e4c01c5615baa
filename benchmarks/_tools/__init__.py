"""Helpers of the benchmarks: data, compared methods, measurements and reports."""
