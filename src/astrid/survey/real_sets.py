"""The real images that can be had, and what is known of each: which pairs, what changed, which stars fail.

Facts only; they are those of the README beside the images. `real_triplets` makes a data set of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["SETS", "RealSet"]


@dataclass(frozen=True)
class RealSet:
    """Frames of one field, and what is known of it.

    Parameters
    ----------
    name, telescope : str
    folder, pattern : str
        Of the files; the pattern's ``{}`` is the name of a frame.
    pairs : tuple of (science, reference, changed)
        Whether the README knows that something changed; if not, nothing did.
    both_ways : bool
        Whether each pair is differenced in both directions: what appears in one fades in the other.
    origin : str
        The frame in whose pixels positions are given; "" if all frames are on one grid.
    blocks : (int, int)
        Columns and rows of blocks that the field is divided into; each is a group.
    facts : dict
        What the headers do not say.
    real : tuple of (x, y)
    residuals : tuple of (x, y, radius)
        Stars that leave residuals.
    saturated_are_bogus : bool
    faded : tuple of str
        Frames in which the real change is not seen any more.
    """

    name: str
    telescope: str
    folder: str
    pattern: str
    pairs: tuple[tuple[str, str, bool], ...]
    both_ways: bool = True
    origin: str = ""
    blocks: tuple[int, int] = (1, 1)
    facts: dict[str, dict[str, float | str]] = field(default_factory=dict)
    real: tuple[tuple[float, float], ...] = ()
    residuals: tuple[tuple[float, float, float], ...] = ()
    saturated_are_bogus: bool = False
    faded: tuple[str, ...] = ()


# The header's gain is a single exposure's. A median of 5 has the noise of 5 x 0.697 exposures, 0.697
# being its efficiency against the mean for Gaussian noise.
_STACK: dict[str, float | str] = {"gain": 3.984 * 5 * 0.697}
# The headers have no gain; 1.5 e-/ADU is what half the variance of the difference of the two gives at
# their sky level.
_ESO: dict[str, float | str] = {"gain": 1.5, "saturation": 60_000.0}
_SERIES = (
    "0001", "0007", "0013", "0020", "0028", "0047", "0054", "0061", "0073", "0091", "0100", "0103", "0110",
    "0116", "0122", "0128", "0134", "0140", "0152", "0158", "0164", "0176", "0180",
)  # fmt: skip

SETS = (
    RealSet(
        name="eso085",
        telescope="Bosque Alegre 1.54 m",
        folder="eso085_pair",
        pattern="aligned_eso085-030-{}.fit.gz",
        pairs=(("004", "005", False),),
        blocks=(3, 2),
        facts={"004": _ESO, "005": _ESO},
    ),
    RealSet(
        name="decam",
        telescope="Blanco 4 m",
        folder="decam_pair",
        pattern="{}.fits.gz",
        pairs=(
            ("DEC-OBS04a.mini", "DEC-OBS18a.mini", True),
            ("DEC-OBS04b.mini", "DEC-OBS18b.mini", True),
            ("DEC-OBS04a.mini", "DEC-OBS18b.mini", True),
            ("DEC-OBS04b.mini", "DEC-OBS18a.mini", True),
            ("Stack-DEC-OBS04", "Stack-DEC-OBS18", True),
            ("DEC-OBS04a.mini", "DEC-OBS04b.mini", False),
            ("DEC-OBS18a.mini", "DEC-OBS18b.mini", False),
        ),
        facts={"Stack-DEC-OBS04": _STACK, "Stack-DEC-OBS18": _STACK},
        real=((129.0, 127.5),),
        residuals=((57.0, 180.0, 8.0), (101.0, 73.0, 8.0), (104.0, 233.0, 8.0), (3.0, 126.0, 8.0)),
    ),
    RealSet(
        name="microlensing",
        telescope="SAAO 1.0 m",
        folder="microlensing_series",
        pattern="AKB13475I{}.fits.gz",
        pairs=tuple((name, "0172", True) for name in _SERIES),
        both_ways=False,  # the series is long
        origin="0172",
        blocks=(3, 1),  # the event lies well inside of one
        real=((271.5, 225.7),),
        residuals=((405.0, 209.0, 15.0), (434.0, 176.0, 15.0), (57.0, 130.0, 15.0)),
        saturated_are_bogus=True,
        faded=("0158", "0164", "0172", "0176", "0180"),
    ),
)
