"""A list of pairs as a CSV file: which frames to difference and how to read them.

Only the list is read and checked here; running the pairs is in `pairs`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from astrid.errors import UsageError
from astrid.survey.provenance import FrameFile

__all__ = ["Pair", "read_pairs"]

_FACTS = {
    "gain": float, "read_noise": float, "saturation": float, "exposure": float, "filter": str, "mjd": float,
    "zero_point": float, "mask": str, "variance": str,
}  # fmt: skip
_IGNORED = {"artefacts"}  # a column of simulated surveys


@dataclass(frozen=True)
class Pair:
    """One line of a list of pairs.

    Parameters
    ----------
    name : str
        Name of the run's directory within the batch.
    science, reference : FrameFile
    truth : Path, optional
        Table of what was put into a simulated pair.
    """

    name: str
    science: FrameFile
    reference: FrameFile
    truth: Path | None = None


def read_pairs(path: str | Path, defaults: tuple[FrameFile, FrameFile] | None = None) -> list[Pair]:
    """Read a list of pairs.

    Parameters
    ----------
    path : str or Path
        CSV with a header line. Columns: ``science`` and ``reference`` (paths, relative to
        the folder of the list); optional ``name`` or ``out`` (directory of the run, default
        the name of the science file), ``truth``, ``profile``, ``ext``, and the facts ``gain``,
        ``read_noise``, ``saturation``, ``exposure``, ``filter``, ``mjd``, ``zero_point``, ``mask``,
        ``variance`` of the science frame; the same with ``reference_`` in front for the reference.
        An empty cell means: as the header or the defaults say.
    defaults : (FrameFile, FrameFile), optional
        How to read science and reference where the list does not say; their paths are not used.

    Returns
    -------
    list of Pair

    Raises
    ------
    UsageError
        No such list, an unknown column, a cell that is not a number, or a name that is
        used twice or is not a plain file name.
    """
    source = Path(path)
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [
                {k: (v or "").strip() for k, v in row.items() if isinstance(v, str | None)} for row in reader
            ]
    except FileNotFoundError as error:
        raise UsageError(f"{source}: there is no such file; give a CSV file of pairs") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{source}: not a readable CSV file ({error}); give a list of pairs") from error
    _check_columns(source, columns)
    plain = (FrameFile(Path()), FrameFile(Path()))
    science, reference = defaults or plain
    pairs: list[Pair] = []
    for number, row in enumerate(rows, start=2):
        where = f"{source}, line {number}"
        if not row.get("science") or not row.get("reference"):
            raise UsageError(f"{where}: science or reference is empty; give both paths")
        pairs.append(
            Pair(
                name=_name(where, row, {pair.name for pair in pairs}),
                science=_frame_file(where, source.parent, row, "", science),
                reference=_frame_file(where, source.parent, row, "reference_", reference),
                truth=source.parent / row["truth"] if row.get("truth") else None,
            )
        )
    if not pairs:
        raise UsageError(f"{source}: the list is empty; give at least one pair")
    return pairs


def _check_columns(source: Path, columns: list[str]) -> None:
    own = {"ext", "profile", *_FACTS}
    known = {"science", "reference", "name", "out", "truth", *own, *(f"reference_{name}" for name in own)}
    unknown = [name for name in columns if name not in known | _IGNORED]
    absent = [name for name in ("science", "reference") if name not in columns]
    if absent:
        raise UsageError(
            f"{source}: no column {' and no column '.join(absent)}; the first line must name the columns"
        )
    if unknown:
        raise UsageError(f"{source}: unknown column {unknown[0]!r}; known are {', '.join(sorted(known))}")


def _frame_file(
    where: str, folder: Path, row: Mapping[str, str], prefix: str, default: FrameFile
) -> FrameFile:
    given: dict[str, float | str] = dict(default.overrides)
    for name, kind in _FACTS.items():
        text = row.get(prefix + name, "")
        if not text:
            continue
        try:
            given[name] = kind(text)
        except ValueError as error:
            raise UsageError(f"{where}: {prefix + name} is {text!r}, expected a number") from error
        if name in ("mask", "variance"):
            given[name] = str(folder / text)
    ext = row.get(prefix + "ext", "")
    return replace(
        default,
        path=folder / row["reference" if prefix else "science"],
        ext=(int(ext) if ext.isdigit() else ext) if ext else default.ext,
        profile=row.get(prefix + "profile") or default.profile,
        overrides=given,
    )


def _name(where: str, row: Mapping[str, str], taken: set[str]) -> str:
    """Directory of the run: as given, or after the science file."""
    given = row.get("name") or row.get("out")
    stem = re.sub(r"\.(fits?|fts)(\.(gz|fz|bz2))?$", "", Path(row["science"]).name, flags=re.IGNORECASE)
    name = given or stem
    number = 2
    while not given and name in taken:  # one science frame against several references
        name, number = f"{stem}-{number}", number + 1
    if name in taken:
        raise UsageError(f"{where}: the name {name!r} is used twice; give each pair its own")
    if name != Path(name).name or name in (".", ".."):
        raise UsageError(f"{where}: {name!r} is not a plain name; give the name of a directory within --out")
    return name
