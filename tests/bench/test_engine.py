"""The benchmark of the engine measures what it says."""

from __future__ import annotations

import numpy as np

from astrid.bench._training_rate import Rates, step_rates


def test_ratio_is_the_median_of_neighbouring_turns():
    rates = Rates(engine=[1.0, 2.0, 10.0], bare=[1.0, 1.0, 10.0])
    assert rates.ratio == 1.0


def test_both_loops_have_their_turns_alternately():
    rates = step_rates(turns=4, steps=1)
    assert len(rates.engine) == len(rates.bare) == 1  # of four turns the first starts the clock, two warm up
    assert np.min([*rates.engine, *rates.bare]) > 0
