"""Transits: dips of a star that come back, from a raw flux to the views that a classifier looks at.

Detrending, the search and the views; no classifier.
"""

from astrid.lightcurves.transits.detrend import clip_bright, detrend
from astrid.lightcurves.transits.search import Transits, find_transits, in_transit
from astrid.lightcurves.transits.views import VIEWS_VERSION, TransitViews, transit_views

__all__ = [
    "VIEWS_VERSION",
    "TransitViews",
    "Transits",
    "clip_bright",
    "detrend",
    "find_transits",
    "in_transit",
    "transit_views",
]
