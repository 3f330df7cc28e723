"""Transits: dips of a star that come back, from a raw flux to the views that a classifier looks at.

Detrending, the search, the views and the numbers; no classifier.
"""

from astrid.lightcurves.transits.detrend import clip_bright, detrend
from astrid.lightcurves.transits.dip import Dip, measure_dip
from astrid.lightcurves.transits.numbers import (
    EARTH,
    NUMBERS_VERSION,
    ORBIT,
    SHAPE,
    SIGNAL,
    STAR,
    orbit_numbers,
    shape_numbers,
    signal_numbers,
)
from astrid.lightcurves.transits.search import Transits, find_transits, in_transit
from astrid.lightcurves.transits.views import VIEWS_VERSION, TransitViews, transit_views

__all__ = [
    "EARTH", "NUMBERS_VERSION", "ORBIT", "SHAPE", "SIGNAL", "STAR", "VIEWS_VERSION",
    "Dip", "TransitViews", "Transits",
    "clip_bright", "detrend", "find_transits", "in_transit", "measure_dip", "orbit_numbers",
    "shape_numbers", "signal_numbers", "transit_views",
]  # fmt: skip
