"""Timings: `python -m benchmarks.vision`, `.pipeline`, `.scaling` and `.ros`.

Contenders of one table run in one process and take turns; figures are medians, ratios are medians
of the ratios within a turn, so that a machine that slows down slows all of them.
"""
