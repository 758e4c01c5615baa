"""Devices, threads, garbage collection, files and progress reports."""
