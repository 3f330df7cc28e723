"""Survey profiles: which header keyword holds which fact, as data and not code.

A profile is a small TOML table, shipped in `surveys/` or given by the user; this
module loads, checks and recognises profiles but interprets no header itself.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from astrid.errors import UsageError
from astrid.images.frame import Flag

__all__ = ["Profile", "TimeRule", "all_profiles", "detect_profile", "load_profile", "profile_names"]

# What a [keywords] table may name; each is a fact of `Frame` of the same name.
FACTS = (
    "gain",
    "read_noise",
    "saturation",
    "exposure",
    "filter",
    "zero_point",
    "telescope",
    "instrument",
)
_NO_FLAG = Flag(0)
_VARIANCE_KINDS = ("variance", "sigma", "inverse", "weight")
_STEPS = ("overscan", "bias", "dark", "flat", "bad_pixels", "cosmic_rays", "trails")


@dataclass(frozen=True)
class TimeRule:
    """How one keyword gives the time of the exposure.

    Parameters
    ----------
    keyword : str
        Where the time stands.
    at : {"start", "middle", "end"}
        Which moment of the exposure it is; half the exposure is added or taken away.
    format : {"mjd", "jd", "date", "met"}
        ``date`` is an ISO date, with the time of day in it or in one of `clock`;
        ``met`` is seconds since MJDREF or MJDREFI + MJDREFF.
    until : str, optional
        A second keyword of the same format: the middle lies half-way between the two.
    clock : tuple of str
        Keywords of the time of day, for a date without one.
    """

    keyword: str
    at: str = "start"
    format: str = "mjd"
    until: str | None = None
    clock: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """The conventions of one survey's or instrument's files.

    Parameters
    ----------
    name : str
        Short name, as given to ``--profile``.
    title : str
        Full name.
    priority : int
        Tables are tried from the highest priority down.
    detect : tuple of dict
        Alternatives; in each, every keyword must be matched by its regular
        expression (case-insensitive, anywhere in the value).
    image_extensions, mask_extensions, variance_extensions : tuple of str
        EXTNAMEs in order of preference.
    variance_kind : {"variance", "sigma", "inverse", "weight"}
        What the variance extension holds; ``weight`` is a relative weight, of
        which only the zeros are used.
    keywords : dict of str to tuple
        For each fact the keywords to try; a nested tuple is combined (mean of
        gains, largest read noise, lowest saturation).
    values : dict
        Facts that the survey does not write because they never change.
    time : tuple of TimeRule
        Tried in order.
    zero_point_per_second : bool
        The zero point is that of 1 count per second, though the pixels are totals.
    zero_point_by_filter : dict of str to float
        Used when no keyword gives the zero point.
    unit : str
        Unit of the pixels when BUNIT is absent.
    fill_values : tuple of float
        Pixel values that mean "no data".
    mask_bits : dict of int to Flag
        Meaning of each bit of the mask; a bit not listed is harmless.
    mask_codes : dict of int to Flag
        Meaning of each whole value, for masks without any value above these.
    mask_planes : dict of str to Flag
        The same by the name of the plane, for masks whose header numbers them
        (``MP_<name>``).
    mask_nonzero : Flag
        Meaning of a mask value with none of the above.
    asinh : bool
        Pixels are stored as asinh magnitudes where BSOFTEN and BOFFSET say so.
    done : dict of str to tuple of str
        For each calibration step the evidence that it was done: ``KEY`` (present)
        or ``KEY=regex`` (value matches).
    """

    name: str
    title: str = ""
    priority: int = 0
    detect: tuple[Mapping[str, str], ...] = ()
    image_extensions: tuple[str, ...] = ("SCI",)
    mask_extensions: tuple[str, ...] = ()
    variance_extensions: tuple[str, ...] = ()
    variance_kind: str = "variance"
    keywords: Mapping[str, tuple[str | tuple[str, ...], ...]] = field(default_factory=dict)
    values: Mapping[str, float | str] = field(default_factory=dict)
    time: tuple[TimeRule, ...] = ()
    zero_point_per_second: bool = False
    zero_point_by_filter: Mapping[str, float] = field(default_factory=dict)
    unit: str = "adu"
    fill_values: tuple[float, ...] = ()
    mask_bits: Mapping[int, Flag] = field(default_factory=dict)
    mask_codes: Mapping[int, Flag] = field(default_factory=dict)
    mask_planes: Mapping[str, Flag] = field(default_factory=dict)
    mask_nonzero: Flag = _NO_FLAG
    asinh: bool = False
    done: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def matches(self, header: Mapping[str, Any]) -> bool:
        """Whether a header is one of this survey's."""
        return any(
            all(re.search(pattern, str(header.get(key, "")), re.IGNORECASE) for key, pattern in rule.items())
            for rule in self.detect
        )


def all_profiles() -> list[Profile]:
    """Profiles that come with the package, by falling priority."""
    return sorted(_shipped().values(), key=lambda each: -each.priority)


def profile_names() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(_shipped())


def load_profile(name_or_path: str | Path) -> Profile:
    """Load a profile by name, or a user's own by the path of its TOML file.

    A user's table may start from a shipped one with ``extends = "name"``; its
    entries then replace those of the same key.

    Parameters
    ----------
    name_or_path : str or Path

    Returns
    -------
    profile : Profile

    Raises
    ------
    UsageError
        No such profile or file, or the table has a key or a value that means nothing.
    """
    name = str(name_or_path)
    if name in _shipped():
        return _shipped()[name]
    path = Path(name_or_path)
    if path.suffix != ".toml":
        known = ", ".join(profile_names())
        raise UsageError(
            f"there is no profile {name!r}; give one of {known}, or the path of a .toml file of your own"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"the profile {path} cannot be read: {reason}; give a readable TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the profile {path} is not valid TOML ({error}); correct it") from error
    base = table.pop("extends", None)
    if base is not None:
        if base not in _shipped():
            raise UsageError(
                f"the profile {path} extends {base!r}, which is none of {', '.join(profile_names())}"
            )
        shipped = tomllib.loads(_tables()[base])
        table = {
            key: {**shipped[key], **table[key]}
            if isinstance(shipped.get(key), dict) and isinstance(table.get(key), dict)
            else table.get(key, shipped.get(key))
            for key in {**shipped, **table}
        }
    table.setdefault("name", path.stem)
    return _profile(table, str(path))


def detect_profile(header: Mapping[str, Any]) -> Profile:
    """Recognise the survey of a header; the generic profile if it is none of them."""
    for profile in all_profiles():
        if profile.matches(header):
            return profile
    return _shipped()["generic"]


def _tables() -> dict[str, str]:
    folder = resources.files("astrid.images").joinpath("surveys")
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }


@functools.cache
def _shipped() -> dict[str, Profile]:
    return {
        name: _profile({"name": name, **tomllib.loads(text)}, f"surveys/{name}.toml")
        for name, text in _tables().items()
    }


def _profile(table: dict[str, Any], where: str) -> Profile:
    """Check a table key by key and make the profile of it."""
    known = {each.name for each in fields(Profile)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise UsageError(
            f"the profile {where} has an unknown key {unknown[0]!r}; use some of {', '.join(sorted(known))}"
        )
    made: dict[str, Any] = {}
    for key, value in table.items():
        try:
            made[key] = _CHECKS[key](value)
        except (TypeError, ValueError, KeyError, AttributeError, re.error) as error:
            raise UsageError(f"the profile {where}: {key} = {value!r} is not usable ({error})") from error
    return Profile(**made)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("expected a number")
    return float(value)


def _flag(value: Any) -> Flag:
    if value not in Flag.__members__:
        raise ValueError(f"{value!r} is not one of {', '.join(Flag.__members__)}")
    return Flag[value]


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def _one_of(options: tuple[str, ...], value: Any) -> str:
    if value not in options:
        raise ValueError(f"{value!r} is not one of {', '.join(options)}")
    return str(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return tuple(_text(each) for each in value)


def _rules(value: Any) -> tuple[dict[str, str], ...]:
    rules = tuple({key: _text(pattern) for key, pattern in rule.items()} for rule in value)
    for rule in rules:
        for pattern in rule.values():
            re.compile(pattern)
    return rules


def _keywords(value: Any) -> dict[str, tuple[str | tuple[str, ...], ...]]:
    for keys in value.values():
        if not isinstance(keys, list):
            raise TypeError("expected a list of keywords")
    return {
        _one_of(FACTS, fact): tuple(_texts(each) if isinstance(each, list) else _text(each) for each in keys)
        for fact, keys in value.items()
    }


def _values(value: Any) -> dict[str, float | str]:
    texts = ("filter", "telescope", "instrument")
    return {
        _one_of(FACTS, fact): _text(each) if fact in texts else _number(each) for fact, each in value.items()
    }


def _time(value: Any) -> tuple[TimeRule, ...]:
    rules = []
    for each in value:
        options = dict(each)
        rule = TimeRule(clock=_texts(options.pop("clock", [])), **options)
        _one_of(("start", "middle", "end"), rule.at)
        _one_of(("mjd", "jd", "date", "met"), rule.format)
        rules.append(rule)
    return tuple(rules)


_CHECKS: dict[str, Any] = {
    "name": _text,
    "title": _text,
    "priority": lambda value: int(_number(value)),
    "detect": _rules,
    "image_extensions": _texts,
    "mask_extensions": _texts,
    "variance_extensions": _texts,
    "variance_kind": lambda value: _one_of(_VARIANCE_KINDS, value),
    "keywords": _keywords,
    "values": _values,
    "time": _time,
    "zero_point_per_second": _boolean,
    "zero_point_by_filter": lambda value: {_text(key): _number(each) for key, each in value.items()},
    "unit": _text,
    "fill_values": lambda value: tuple(_number(each) for each in value),
    "mask_bits": lambda value: {int(bit): _flag(flag) for bit, flag in value.items()},
    "mask_codes": lambda value: {int(code): _flag(flag) for code, flag in value.items()},
    "mask_planes": lambda value: {plane: _flag(flag) for plane, flag in value.items()},
    "mask_nonzero": _flag,
    "asinh": _boolean,
    "done": lambda value: {_one_of(_STEPS, step): _texts(each) for step, each in value.items()},
}
