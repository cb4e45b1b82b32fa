"""Benchmarks, official metrics, the runner and bag replay, over `tosa_ros.pipeline`."""
