"""Facts out of FITS headers: numbers, times and units as a profile says.

Whatever a header holds, a fact is either understood or reported as absent with
the reason; this module reads no pixels and no files.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astrid.images.profiles import Profile, TimeRule

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["Facts", "PixelUnit", "keyword_value", "mid_exposure", "pixel_unit", "read_facts"]

_SECONDS_PER_DAY = 86400.0
# Facts that are meaningless unless positive; a read noise of 0 and any zero point are possible.
_POSITIVE = ("gain", "saturation", "exposure")
_TEXTS = ("filter", "telescope", "instrument")
_COMBINE = {"gain": "mean", "read_noise": "max", "saturation": "min"}

_COUNTS = re.compile(r"^(adu|dn|counts?|cts?|data numbers?)?$")
_ELECTRONS = re.compile(r"^(electrons?|e-?|el|photons?|photoelectrons?)$")
_PER_SECOND = re.compile(r"\s*(/\s*(s|sec|seconds?)|\b(s|sec)\s*(\^|\*\*)?\s*\(?-1\)?|per (s|sec|second))$")
# AB magnitude of one unit of flux density, for pixels that are not counts at all.
_FLUX_ZERO_POINTS = {"jy": 8.9, "mjy": 16.4, "ujy": 23.9, "njy": 31.4, "nmgy": 22.5, "nanomaggy": 22.5}


@dataclass
class Facts:
    """What the header says: values by name of the fact, and what was wrong, in sentences."""

    values: dict[str, float | str] = field(default_factory=dict)
    tried: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PixelUnit:
    """What one unit of the stored pixels is.

    Parameters
    ----------
    electrons : bool
        Pixels are electrons and not ADU.
    per_second : bool
        Pixels are a rate.
    zero_point : float, mag, optional
        AB magnitude of 1, for pixels that are flux densities.
    divide_by : str, optional
        Keyword by which pixels are divided to give counts per second.
    known : bool
        Whether the text was understood.
    """

    electrons: bool = False
    per_second: bool = False
    zero_point: float | None = None
    divide_by: str | None = None
    known: bool = True


def keyword_value(headers: Sequence[Header | Mapping[str, Any]], keyword: str) -> Any:
    """First value of a keyword in the headers, `None` if absent, empty or unparsable.

    Parameters
    ----------
    headers : sequence of Header
        The image's own header, then that of the primary HDU.
    keyword : str

    Returns
    -------
    value : str, bool, int, float, complex or None
    """
    from astropy.io.fits import VerifyError
    from astropy.io.fits.card import Undefined

    for header in headers:
        try:
            value = header.get(keyword)
        except (VerifyError, ValueError, KeyError, IndexError, TypeError, AttributeError):
            # a card whose bytes cannot be parsed says nothing
            continue
        if value is None or isinstance(value, Undefined) or (isinstance(value, str) and not value.strip()):
            continue
        return value
    return None


def as_number(value: Any) -> float | None:
    """Finite float of a header value, also of a number written as text; else `None`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_facts(headers: Sequence[Header], profile: Profile) -> Facts:
    """Look up every fact that the profile knows a keyword or a fixed value for.

    Parameters
    ----------
    headers : sequence of Header
        Tried in this order for each keyword.
    profile : Profile

    Returns
    -------
    facts : Facts
        Units as in `Frame`, except that the zero point and the saturation are
        those of the pixels as stored.
    """
    facts = Facts()
    for fact, keywords in profile.keywords.items():
        facts.tried[fact] = tuple(_flat(keywords))
        for entry in keywords:
            value = _value(headers, fact, (entry,) if isinstance(entry, str) else entry, facts.warnings)
            if value is not None:
                facts.values[fact] = value
                break
    for fact, fixed in profile.values.items():
        facts.values.setdefault(fact, fixed)
    band = str(facts.values.get("filter", "")).strip()
    if "zero_point" not in facts.values and band in profile.zero_point_by_filter:
        facts.values["zero_point"] = profile.zero_point_by_filter[band]
    return facts


def _flat(keywords: Iterable[str | tuple[str, ...]]) -> Iterable[str]:
    for entry in keywords:
        if isinstance(entry, str):
            yield entry
        else:
            yield from entry


def _value(
    headers: Sequence[Header], fact: str, keywords: tuple[str, ...], problems: list[str]
) -> float | str | None:
    """Value of one fact from keywords that belong together, all of which must be there."""
    found: list[float] = []
    for keyword in keywords:
        value = keyword_value(headers, keyword)
        if value is None:
            return None
        if fact in _TEXTS:
            return str(value).strip()
        number = as_number(value)
        if number is None or (fact in _POSITIVE and number <= 0) or (number < 0 and fact == "read_noise"):
            problems.append(f"{keyword} = {_shown(value)} is not a usable {fact.replace('_', ' ')}; ignored")
            return None
        found.append(number)
    combine = _COMBINE.get(fact, "mean")
    if combine == "max":
        return max(found)
    return min(found) if combine == "min" else sum(found) / len(found)


def _shown(value: Any) -> str:
    return repr(value) if len(repr(value)) < 40 else repr(value)[:36] + "..."


def mid_exposure(
    headers: Sequence[Header], rules: Iterable[TimeRule], exposure: float | None, problems: list[str]
) -> float | None:
    """Middle of the exposure by the first rule that applies.

    Parameters
    ----------
    headers : sequence of Header
    rules : iterable of TimeRule
    exposure : float, s, optional
        Unknown counts as 0, with a sentence to say so.
    problems : list of str
        Sentences are appended.

    Returns
    -------
    mjd : float, days, UTC, or None
    """
    system = str(keyword_value(headers, "TIMESYS") or "UTC").strip().upper()
    for rule in rules:
        moment = _moment(headers, rule.keyword, rule, system, problems)
        if moment is None:
            continue
        if rule.until is not None:
            end = _moment(headers, rule.until, rule, system, problems)
            if end is None or end < moment:
                continue
            return (moment + end) / 2
        if rule.at == "middle":
            return moment
        if exposure is None:
            problems.append(
                f"{rule.keyword} is the {rule.at} of an exposure of unknown length; taken as it is"
            )
        half = (exposure or 0.0) / 2 / _SECONDS_PER_DAY
        return moment + half if rule.at == "start" else moment - half
    return None


def _moment(
    headers: Sequence[Header], keyword: str, rule: TimeRule, system: str, problems: list[str]
) -> float | None:
    """MJD (UTC) of one keyword."""
    value = keyword_value(headers, keyword)
    if value is None:
        return None
    mjd: float | None
    if rule.format == "date":
        mjd = _date(headers, str(value), rule, system)
    else:
        number = as_number(value)
        mjd = number
        if number is not None and rule.format == "jd":
            # some write a reduced Julian date under the same name
            mjd = number - 2400000.5 if number > 2400000.5 else None
        elif number is not None and rule.format == "met":
            reference = _met_reference(headers)
            mjd = None if reference is None else reference + number / _SECONDS_PER_DAY
        if mjd is not None and system in ("TT", "TAI", "TDB"):
            mjd = _to_utc(mjd, "mjd", system)
    # 1858 to 2132: anything else is a blank or damaged card
    if mjd is None or not 0 < mjd < 100000:
        problems.append(f"{keyword} = {_shown(value)} is not a usable time; ignored")
        return None
    return mjd


def _met_reference(headers: Sequence[Header]) -> float | None:
    whole = as_number(keyword_value(headers, "MJDREFI"))
    part = as_number(keyword_value(headers, "MJDREFF"))
    if whole is not None:
        return whole + (part or 0.0)
    return as_number(keyword_value(headers, "MJDREF"))


def _date(headers: Sequence[Header], text: str, rule: TimeRule, system: str) -> float | None:
    text = text.strip().rstrip("Z")
    old = re.fullmatch(r"(\d\d)/(\d\d)/(\d\d)", text)  # before 1999: DD/MM/YY of the 20th century
    if old:
        text = f"19{old[3]}-{old[2]}-{old[1]}"
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        clock = next((str(found) for key in rule.clock if (found := keyword_value(headers, key))), None)
        if clock is None or not re.fullmatch(r"\d\d?:\d\d:\d\d(\.\d*)?", clock.strip()):
            return None
        hour, rest = clock.strip().split(":", 1)
        text = f"{text}T{int(hour):02d}:{rest}"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d?:\d\d(:\d\d(\.\d*)?)?", text):
        return None
    return _to_utc(text.replace(" ", "T"), "isot", system)


def _to_utc(value: str | float, format: str, system: str) -> float | None:
    from astropy.time import Time

    scale = system.lower() if system in ("TT", "TAI", "TDB", "UT1") else "utc"
    if scale == "ut1":  # needs Earth orientation tables and differs by less than a second
        scale = "utc"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dubious year: the range is checked afterwards
        try:
            return float(Time(value, format=format, scale=scale).utc.mjd)
        except (ValueError, TypeError, OverflowError):
            return None


def pixel_unit(text: str, headers: Sequence[Header]) -> PixelUnit | str:
    """Understand BUNIT.

    Parameters
    ----------
    text : str
        Value of BUNIT; empty counts as ADU.
    headers : sequence of Header
        For the keyword that turns a surface brightness into counts.

    Returns
    -------
    unit : PixelUnit or str
        A string says why the pixels cannot be turned into counts.
    """
    plain = " ".join(text.strip().lower().replace("*", " ").replace("^", " ").split())
    plain = re.sub(r"\s*/\s*(pix|pixel|pixels)$", "", plain)
    base = _PER_SECOND.sub("", plain)
    rate = base != plain
    if plain in ("cps", "count rate"):
        base, rate = "counts", True
    if _COUNTS.match(base):
        return PixelUnit(per_second=rate)
    if _ELECTRONS.match(base):
        return PixelUnit(electrons=True, per_second=rate)
    # megajansky or millijansky is a matter of the capital
    if plain in _FLUX_ZERO_POINTS and not text.strip().startswith("MJ"):
        return PixelUnit(zero_point=_FLUX_ZERO_POINTS[plain])
    if re.fullmatch(r"mjy\s*/\s*sr|mjy sr\s*-1", plain):
        if as_number(keyword_value(headers, "PHOTMJSR")):
            return PixelUnit(per_second=True, divide_by="PHOTMJSR")
        return "a surface brightness, and no PHOTMJSR keyword says how many counts per second it is"
    return _other_unit(text)


def _other_unit(text: str) -> PixelUnit | str:
    from astropy.units import Unit

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            unit = Unit(text.strip())
        except (
            ValueError,
            TypeError,
            AttributeError,
            IndexError,
            KeyError,
            OverflowError,
            ZeroDivisionError,
        ):
            return PixelUnit(known=False)
    if unit.physical_type == "dimensionless":
        return PixelUnit(known=False)
    return f"{unit.physical_type}, which cannot be turned into counts"


def missing(facts: Facts, name: str, fact: str, option: str) -> str:
    """Sentence for a fact that is needed and absent."""
    tried = facts.tried.get(fact, ())
    looked = f"none of the keywords {', '.join(tried)} gives one" if tried else "its profile names no keyword"
    return f"{name}: the {fact.replace('_', ' ')} is needed and {looked}; pass {option}"


def header_mapping(headers: Sequence[Header], keywords: Iterable[str]) -> Mapping[str, Any]:
    """Values of some keywords as a plain mapping, absent ones left out."""
    found = {keyword: keyword_value(headers, keyword) for keyword in keywords}
    return {keyword: value for keyword, value in found.items() if value is not None}


def surface_brightness_zero_point(headers: Sequence[Header]) -> float | None:
    """AB magnitude of 1 count per second, from PHOTMJSR and the pixel area PIXAR_SR.

    Parameters
    ----------
    headers : sequence of Header

    Returns
    -------
    zero_point : float, mag, or None
    """
    scale = as_number(keyword_value(headers, "PHOTMJSR"))
    area = as_number(keyword_value(headers, "PIXAR_SR"))
    if scale is None or area is None or scale <= 0 or area <= 0:
        return None
    # AB: 3631 Jy is magnitude 0
    return -2.5 * math.log10(scale * 1e6 * area / 3631.0)


class JointHeader(Mapping[str, Any]):
    """Several headers as one mapping: the first that has a usable value speaks.

    Parameters
    ----------
    headers : sequence of Header
    """

    def __init__(self, headers: Sequence[Header]) -> None:
        self._headers = headers

    def __getitem__(self, keyword: str) -> Any:
        value = keyword_value(self._headers, keyword)
        if value is None:
            raise KeyError(keyword)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter({key for header in self._headers for key in header})

    def __len__(self) -> int:
        return sum(1 for _ in self)
