"""Benchmarks: one module per benchmark, each beside named peers in the same run.

A module here with a function ``run(quick, on_stage) -> Report`` is a benchmark of
its own name; `frame` holds what they share.
"""
