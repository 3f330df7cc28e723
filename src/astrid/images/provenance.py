"""What a header says was done to an image, and how what we do is written into one.

It reads and makes cards; the steps themselves are in `calibration`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from astrid.images import headers
from astrid.images.frame import Frame
from astrid.images.profiles import Profile, all_profiles
from astrid.images.writing import frame_header

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["RECORDS", "history_lines", "inherited_cards", "steps_done"]

# Keyword that records each step; reading them back is what refuses a second run.
RECORDS = {
    "overscan": "ASTOSCAN",
    "bias": "ASTBIAS",
    "dark": "ASTDARK",
    "flat": "ASTFLAT",
    "bad_pixels": "ASTBPM",
    "cosmic_rays": "ASTCRAYS",
    "trails": "ASTTRAIL",
}
_NOTHING = re.compile(
    r"^\s*(n/?a|none|unknown|unspecified|f|false|no|0|incomplete|skipped|)\s*$", re.IGNORECASE
)
# Cards of the raw header that the calibrated image must not inherit.
_STRUCTURAL = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|TFIELDS|BSCALE|BZERO|BLANK|BUNIT|CHECKSUM|DATASUM"
    r"|EXTNAME|EXTVER|INHERIT|CREATOR|Z[A-Z]+\d*|TTYPE\d+|TFORM\d+|FZ[A-Z]+|BIASSEC|TRIMSEC|DATASEC"
    r"|WCSAXES|C(TYPE|RVAL|RPIX|DELT|UNIT|ROTA)\d|(CD|PC)\d_\d|PV\d_\d+|(A|B|AP|BP)_\w+|LONPOLE|LATPOLE"
    r"|RADESYS|RADECSYS|HISTORY|COMMENT|END|)$"
)


def steps_done(header: Header | Mapping[str, Any], profile: Profile | None = None) -> dict[str, str]:
    """Calibration steps that a header says were done, each with the evidence.

    Parameters
    ----------
    header : `~astropy.io.fits.Header` or mapping
    profile : Profile, optional
        Its evidence is added to that of every shipped profile that recognises the header.

    Returns
    -------
    done : dict of str to str
        Name of the step to ``"KEYWORD = value"``.
    """
    always = ("generic", "astrid")
    profiles = [each for each in all_profiles() if each.name in always or each.matches(header)]
    if profile is not None:
        profiles.append(profile)
    done: dict[str, str] = {}
    for each in profiles:
        for step, evidence in each.done.items():
            found = next((text for rule in evidence if (text := _evidence(header, rule))), None)
            if found is not None:
                done.setdefault(step, found)
    return done


def _evidence(header: Header | Mapping[str, Any], rule: str) -> str | None:
    keyword, _, pattern = rule.partition("=")
    if keyword == "HISTORY":
        # long lines are broken anywhere, so that only the whole text can be searched
        match = re.search(pattern, "".join(history_lines(header)), re.IGNORECASE)
        return f"HISTORY {match[0]!r}" if match else None
    value = headers.keyword_value([header], keyword)
    if value is None or value is False or _NOTHING.match(str(value)):
        return None
    if pattern and not re.search(pattern, str(value).strip(), re.IGNORECASE):
        return None
    return f"{keyword} = {str(value).strip()!r}"


def inherited_cards(header: Header, frame: Frame) -> dict[str, Any]:
    """Cards of a raw header that stay true for the frame made of it.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
    frame : Frame
        Its own facts and WCS take the place of the header's.

    Returns
    -------
    cards : dict of str to (value, comment)
    """
    cards: dict[str, Any] = {}
    facts = frame_header(frame)
    for keyword in header:
        if keyword in facts or _STRUCTURAL.match(keyword):
            continue
        value = headers.keyword_value([header], keyword)
        if value is not None:
            cards[keyword] = (value, str(header.comments[keyword]))
    return cards


def history_lines(header: Header | Mapping[str, Any]) -> list[str]:
    """HISTORY lines of a header, in order."""
    return [str(line) for line in header.get("HISTORY", [])]
