"""The celestial WCS of a header, with its known ailments treated and named.

A WCS that cannot be used becomes `None` and a sentence, never an exception;
mapping one WCS onto another is the business of `mapping`.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid.images.headers import as_number, keyword_value

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

__all__ = ["celestial_wcs"]

# Cards that make a two-axis celestial WCS. Dates and telescope positions are left
# out: wcslib would "repair" them, and they have no part in the mapping.
_NUMBERS = re.compile(
    r"^(CRVAL[12]|CRPIX[12]|CDELT[12]|CROTA[12]|CD[12]_[12]|PC[12]_[12]|PV[12]_\d{1,2}"
    r"|LONPOLE|LATPOLE|EQUINOX|EPOCH|(A|B|AP|BP)_(ORDER|DMAX|\d_\d))$"
)
_TEXTS = re.compile(r"^(CTYPE[12]|CUNIT[12]|RADESYS|RADECSYS)$")
_SIP = re.compile(r"^(A|B|AP|BP)_(ORDER|DMAX|\d_\d)$")
_PV = re.compile(r"^PV[12]_(\d{1,2})$")
_MAX_SIP_ORDER = 9


def celestial_wcs(header: Header, shape: tuple[int, int], problems: list[str]) -> WCS | None:
    """Make the celestial WCS of an image.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of the image itself.
    shape : (ny, nx)
        Of the image, to check the WCS where it will be used.
    problems : list of str
        A sentence is appended for everything that was repaired, and for a WCS
        that cannot be used.

    Returns
    -------
    wcs : `~astropy.wcs.WCS` or None
        `None` if the header has no celestial WCS or one that is broken.
    """
    cards = _cards(header)
    if not {"CTYPE1", "CTYPE2"} <= set(cards):
        return None
    ctypes = (str(cards["CTYPE1"]).strip().upper(), str(cards["CTYPE2"]).strip().upper())
    if not any(ctype.startswith(("RA", "GLON", "ELON", "HLON")) for ctype in ctypes):
        return None
    repairs: list[str] = []
    fault = _repair(cards, repairs)
    if fault is None:
        wcs, fault = _build(cards, shape, repairs)
        if wcs is not None:
            problems += repairs
            return wcs
    problems.append(f"the WCS is not usable ({fault}), so the frame has none; align it on its stars")
    return None


def _cards(header: Header) -> dict[str, Any]:
    """Values of the cards that belong to the WCS."""
    cards = {}
    for keyword in set(header):
        if _NUMBERS.match(keyword) or _TEXTS.match(keyword):
            value = keyword_value([header], keyword)
            if value is not None:
                cards[keyword] = value
    return cards


def _repair(cards: dict[str, Any], repairs: list[str]) -> str | None:
    """Put right in place what is known to be written wrongly; return what cannot be."""
    for keyword in [key for key in cards if _NUMBERS.match(key)]:
        number = as_number(cards[keyword])
        if number is None:
            return f"{keyword} is not a number"
        cards[keyword] = number
    for keyword in ("CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "RADESYS", "RADECSYS"):
        if keyword in cards:
            cards[keyword] = (
                str(cards[keyword]).strip().upper()
                if keyword.startswith("CTYPE")
                else (str(cards[keyword]).strip())
            )
    if "RADECSYS" in cards:  # the name before the standard of 2002; no fault worth a word
        cards.setdefault("RADESYS", cards.pop("RADECSYS"))
    for keyword in ("CUNIT1", "CUNIT2"):
        if cards.get(keyword, "deg").lower() in ("degree", "degrees", "deg", "d"):
            cards[keyword] = "deg"
    fault = _repair_sip(cards, repairs)
    if fault is None:
        _repair_pv(cards, repairs)
    return fault


def _repair_sip(cards: dict[str, Any], repairs: list[str]) -> str | None:
    sip = [key for key in cards if _SIP.match(key)]
    named = cards["CTYPE1"].endswith("-SIP") or cards["CTYPE2"].endswith("-SIP")
    complete = {"A_ORDER", "B_ORDER"} <= set(sip)
    for keyword in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"):
        if keyword in cards:
            if not (cards[keyword] == int(cards[keyword]) and 0 <= cards[keyword] <= _MAX_SIP_ORDER):
                return f"{keyword} is {cards[keyword]:g}, expected 0 to {_MAX_SIP_ORDER}"
            cards[keyword] = int(cards[keyword])
    if named and not complete:
        repairs.append("CTYPE names a SIP distortion but there are no coefficients; none is applied")
        for key in sip:
            del cards[key]
        for keyword in ("CTYPE1", "CTYPE2"):
            cards[keyword] = cards[keyword].removesuffix("-SIP")
    elif complete and not named:
        if "-TPV" in cards["CTYPE1"]:
            repairs.append("the header has both TPV and SIP coefficients; SIP is left out, as CTYPE says TPV")
            for key in sip:
                del cards[key]
        else:
            repairs.append("there are SIP coefficients but CTYPE does not name SIP; they are applied")
            for keyword in ("CTYPE1", "CTYPE2"):
                cards[keyword] += "-SIP"
    elif sip and not complete:
        for key in sip:
            del cards[key]
    if not {"AP_ORDER", "BP_ORDER"} <= set(cards):
        for key in [key for key in cards if key.startswith(("AP_", "BP_"))]:
            del cards[key]
    return None


def _repair_pv(cards: dict[str, Any], repairs: list[str]) -> None:
    pv = {key: int(match[1]) for key in cards if (match := _PV.match(key))}
    if not pv:
        return
    tangent = cards["CTYPE1"].endswith(("-TAN", "-TAN-SIP"))
    if not tangent:
        return
    # TAN takes only the native pole (PV1_1 to PV1_4); SCAMP before 2012 wrote its
    # polynomial there under the name TAN, which the standard now calls TPV.
    if cards["CTYPE1"].endswith("-SIP"):
        repairs.append("a SIP distortion stands beside PV coefficients; the latter are left out")
    elif any(order >= 5 for order in pv.values()) or any(key.startswith("PV2_") for key in pv):
        repairs.append("CTYPE says TAN but there are PV coefficients; they are read as TPV")
        for keyword in ("CTYPE1", "CTYPE2"):
            cards[keyword] = cards[keyword].replace("-TAN", "-TPV")
        return
    for key in pv:
        del cards[key]


def _build(
    cards: dict[str, Any], shape: tuple[int, int], repairs: list[str]
) -> tuple[WCS | None, str | None]:
    """Let wcslib make the WCS and try it at the middle and the corners."""
    from astropy.io.fits import Header
    from astropy.wcs import WCS, FITSFixedWarning, WcsError

    header = Header()
    header["WCSAXES"] = 2
    for key in sorted(cards):
        header[key] = cards[key]
    ny, nx = shape
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            wcs = WCS(header, naxis=2)
            if not wcs.has_celestial:
                return None, "its axes are not a longitude and a latitude"
            wcs = wcs.celestial
            wcs.array_shape = shape
            x = np.array([(nx - 1) / 2, (nx - 1) / 2 + 1, (nx - 1) / 2, 0.0, nx - 1, 0.0, nx - 1])
            y = np.array([(ny - 1) / 2, (ny - 1) / 2, (ny - 1) / 2 + 1, 0.0, 0.0, ny - 1, ny - 1])
            longitude, latitude = wcs.all_pix2world(x, y, 0)
        except (
            WcsError,
            ValueError,
            TypeError,
            KeyError,
            IndexError,
            AttributeError,
            RuntimeError,
            MemoryError,
        ) as error:
            return None, " ".join(str(error).split()).rstrip(".")[:120] or type(error).__name__
    if not np.isfinite([longitude, latitude]).all():
        return None, "it gives no sky position inside the image"
    sides = np.sqrt(np.sum(wcs.pixel_scale_matrix**2, axis=0))
    area = _pixel_area(longitude[:3], latitude[:3])
    # a thousandth of an arcsecond to ten degrees, and no side a hundred times the other
    if not (
        3e-7 < sides.min() <= sides.max() < 10 and sides.max() < 100 * sides.min() and 1e-13 < area < 100
    ):
        return None, f"its pixels would measure {sides[0]:.3g} by {sides[1]:.3g} degrees"
    repairs += [
        f"the WCS was repaired: {' '.join(str(each.message).split())}"
        for each in caught
        if issubclass(each.category, FITSFixedWarning)
    ]
    return wcs, None


def _pixel_area(longitude: Any, latitude: Any) -> float:
    """Square degrees of the pixel between a point and its two neighbours."""
    step = (longitude - longitude[0] + 180) % 360 - 180
    east = step * np.cos(np.deg2rad(latitude[0]))
    north = latitude - latitude[0]
    return float(abs(east[1] * north[2] - east[2] * north[1]))
