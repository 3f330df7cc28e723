"""How often noise alone would make a peak as high.

Analytic bounds only; they hold for uncorrelated noise, and real light curves have some that is correlated.
"""

from __future__ import annotations

import numpy as np

from astrid.errors import UsageError
from astrid.lightcurves.periods.points import Points

__all__ = ["false_alarm_baluev", "log_false_alarm"]


def false_alarm_baluev(power: float, points: Points, maximum: float) -> float:
    """Bound the false-alarm probability of a Lomb-Scargle peak.

    Parameters
    ----------
    power : float
        Of `harmonic_power` with one term.
    points : Points
    maximum : float, 1/days
        The highest trial frequency.

    Returns
    -------
    probability : float

    References
    ----------
    Baluev 2008, MNRAS 385, 1279, eqs. 5 and 6 with the z_1 statistic.
    """
    from scipy.special import gammaln

    n = points.time.size
    if n < 5:
        raise UsageError(f"{n} points are too few for a false-alarm probability; at least five are needed")
    height = min(max(power, 0.0), 1.0 - 1e-15)
    width = maximum * np.sqrt(4 * np.pi * np.average((points.time - points.time.mean()) ** 2))
    gamma = np.sqrt(2 / (n - 1)) * np.exp(gammaln((n - 1) / 2) - gammaln((n - 2) / 2))
    single = (1 - height) ** ((n - 3) / 2)
    tau = gamma * width * (1 - height) ** ((n - 4) / 2) * np.sqrt(0.5 * (n - 1) * height)
    return float(1 - (1 - single) * np.exp(-tau)) if tau > 1e-8 else float(single + tau)


def log_false_alarm(power: float, points: Points, n_terms: int, span: float) -> float:
    """Decimal logarithm of the false-alarm probability of a peak of `harmonic_power`.

    The statistic of the analysis of variance has an F distribution at one frequency; a range of frequencies
    holds about as many independent ones as it has resolution elements, here counted once for each harmonic.

    Parameters
    ----------
    power : float
    points : Points
    n_terms : int
    span : float, 1/days
        Width of the range of trial frequencies.

    Returns
    -------
    log10 of the probability : float
        At most 0.

    References
    ----------
    Schwarzenberg-Czerny 1998, MNRAS 301, 831.
    """
    own = 2 * n_terms * points.n_bands
    free = points.time.size - own - points.n_bands
    if free < 1:
        return 0.0
    height = min(max(power, 0.0), 1.0 - 1e-15)
    trials = max(1.0, span * points.baseline * n_terms)
    single = _log_tail(1 - height, free / 2, own / 2) / np.log(10)
    return min(0.0, single + float(np.log10(trials)))


def _log_tail(z: float, a: float, b: float) -> float:
    """Logarithm of the regularized incomplete beta function I_z(a, b): the F distribution's upper tail.

    Of thousands of points it is below the smallest float. There is, by DLMF 8.17.7 and 15.8.1,
    I_z(a, b) = z^a (1 - z)^b / (a B(a, b)) 2F1(a + b, 1; a + 1; z).
    """
    from scipy.special import betainc, betaln, hyp2f1

    plain = float(betainc(a, b, z))
    if plain > 1e-290:
        return float(np.log(plain))
    rest = np.log(hyp2f1(a + b, 1.0, a + 1.0, z))
    return float(a * np.log(z) + b * np.log1p(-z) - np.log(a) - betaln(a, b) + rest)
