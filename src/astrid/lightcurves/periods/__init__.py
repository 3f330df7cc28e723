"""Periods of light curves: grids of trial frequencies, searches over them, and the choice of a period.

Functions take plain arrays of points; reading them, and what else can be measured on them, are elsewhere.
"""
