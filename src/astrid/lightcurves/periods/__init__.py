"""Periods of light curves: grids of trial frequencies, searches over them, and the choice of a period.

Functions take plain arrays of points; reading them, and what else can be measured on them, are elsewhere.
"""

from astrid.lightcurves.periods.aliases import repair_sidereal, sidereal_aliases
from astrid.lightcurves.periods.boxes import Boxes, box_periods, box_power, transit_duration
from astrid.lightcurves.periods.entropy import conditional_entropy
from astrid.lightcurves.periods.grid import (
    TERRESTRIAL_BANDS,
    FrequencyGrid,
    frequency_grid,
    spectral_window,
    terrestrial,
    window_bands,
    within_bands,
)
from astrid.lightcurves.periods.harmonics import harmonic_power, harmonic_power_at, variance_ratio
from astrid.lightcurves.periods.hierarchy import Period, Periodograms, find_period, published_hierarchy
from astrid.lightcurves.periods.multiples import fold_shape, resolve_multiple
from astrid.lightcurves.periods.peaks import highest_peaks
from astrid.lightcurves.periods.points import Points, clean_points, clip_outliers
from astrid.lightcurves.periods.significance import false_alarm_baluev, log_false_alarm
from astrid.lightcurves.periods.variance import binned_power

__all__ = [
    "TERRESTRIAL_BANDS",
    "Boxes",
    "FrequencyGrid",
    "Period",
    "Periodograms",
    "Points",
    "binned_power",
    "box_periods",
    "box_power",
    "clean_points",
    "clip_outliers",
    "conditional_entropy",
    "false_alarm_baluev",
    "find_period",
    "fold_shape",
    "frequency_grid",
    "harmonic_power",
    "harmonic_power_at",
    "highest_peaks",
    "log_false_alarm",
    "published_hierarchy",
    "repair_sidereal",
    "resolve_multiple",
    "sidereal_aliases",
    "spectral_window",
    "terrestrial",
    "transit_duration",
    "variance_ratio",
    "window_bands",
    "within_bands",
]
