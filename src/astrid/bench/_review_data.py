"""The labelled sets of `review`: features of items, the label that somebody gave each, and its group.

All of them are real; where a file is absent, the set is left out and the benchmark says so.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LabelledSet", "Votes", "labelled_sets", "snad", "snad_tags", "transients", "votes"]

_BUNDLE = "braai.sim1"  # it has seen no real image
_STARS = ("EA", "EW", "LPV", "RRab", "RRc", "RRd", "RS_CVn")


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Items that are already labelled, with which labelling is played through.

    Parameters
    ----------
    name : str
    features : (n, d) float64 ndarray
    labels : (n,) int64 ndarray
    classes : tuple of str
        What the labels mean; 1 is the wanted one of two.
    groups : (n,) ndarray
        Items of one group are never in the pool and in the test part both.
    pool, test : int
        How many items each part has at most.
    budget : int
        Labels at which a run ends.
    """

    name: str
    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[Any]
    pool: int = 3000
    test: int = 3000
    budget: int = 600


@dataclass(frozen=True, eq=False)
class Votes:
    """Answers of volunteers, and what a latent-class analysis made of them upstream."""

    items: NDArray[np.int64]
    people: NDArray[np.str_]
    answers: NDArray[np.int64]
    label: NDArray[np.int64]


def labelled_sets(root: Path, say: Callable[[str], None], without: tuple[str, ...] = ()) -> list[LabelledSet]:
    """All sets whose files are below the folder with the real data, but for those at the paths `without`."""
    makers: dict[str, Callable[[Path], LabelledSet]] = {
        "review/snad_ztf_features.csv.gz": snad,
        "radio/HTRU_2.csv.gz": _pulsars,
        "images": _triplets,
        "lightcurves/crts/crts_train_lc.parquet": _stars,
        "radio/crts_features.parquet": transients,
    }
    sets = []
    for path, make in makers.items():
        if path in without:
            continue
        if (root / path).exists():
            say(f"reading {path}")
            sets.append(make(root / path))
        else:
            say(f"no {path}: its rows are left out")
    return sets


def snad(path: Path) -> LabelledSet:
    """Objects that experts of SNAD looked at, by features of their light curves."""
    names, table = _table(path)
    oid, label = (names.index(name) for name in ("oid", "label"))
    features = np.array([[float(v) for k, v in enumerate(row) if k not in (oid, label)] for row in table])
    labels = np.array([int(float(row[label])) for row in table])
    groups = np.array([row[oid] for row in table])
    return LabelledSet(
        "SNAD, artefact or not",
        features,
        labels,
        ("astrophysical", "artefact"),
        groups,
        pool=1500,
        budget=700,
    )


def _pulsars(path: Path) -> LabelledSet:
    _, table = _table(path)
    values = np.array(table, np.float64)
    return LabelledSet(
        "HTRU2, pulsar or not", values[:, :-1], values[:, -1].astype(np.int64), ("noise", "pulsar"),
        np.arange(len(values)), pool=6000, budget=310,
    )  # fmt: skip


def _triplets(path: Path) -> LabelledSet:
    """Real triplets as the features of a network that was trained on simulated ones only."""
    import torch

    from astrid.learn.dataset import Dataset
    from astrid.learn.novelty import embeddings
    from astrid.learn.registry import find_bundle
    from astrid.survey.real_triplets import real_triplets

    bundle = find_bundle(_BUNDLE)
    network = bundle.task.build_network()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in bundle.weights.items()})
    with tempfile.TemporaryDirectory() as folder:
        real_triplets(path, Path(folder) / "images")
        dataset = Dataset.open(Path(folder) / "images")
        features = embeddings(network, bundle.task, dataset, np.arange(len(dataset)))
        labels = dataset.labels("real", bundle.task.heads["real"]) >= 0.5
        return LabelledSet(
            f"real triplets as {_BUNDLE} sees them, real or bogus", features.astype(np.float64),
            labels.astype(np.int64), ("bogus", "real"), dataset.groups(), budget=310,
        )  # fmt: skip


def _stars(path: Path) -> LabelledSet:
    """Variable stars by the statistics of their light curves and the period of the catalogue."""
    import pyarrow.parquet as pq

    from astrid.lightcurves.features import statistics

    curves = pq.read_table(path)
    names, table = _table(path.with_name("crts_train_labels.csv"))
    name, kind, period = (
        next(k for k, n in enumerate(names) if n.startswith(what)) for what in ("cat", "class", "period")
    )
    known = {
        int(row[name]): (row[kind], float(row[period]))
        for row in table
        if row[kind] in _STARS and row[period]
    }
    ids = curves["catalina_id"].to_numpy()
    mjd, mag, error = (curves[one].to_numpy() for one in ("mjd", "mag", "magerr"))
    bounds = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1, append=ids[-1] + 1))
    rows, labels, stars = [], [], []
    for start, stop in itertools.pairwise(bounds.tolist()):
        star = int(ids[start])
        if star in known and stop - start >= 10:
            numbers = statistics(mjd[start:stop], mag[start:stop], error[start:stop], [0, stop - start])[0]
            rows.append([*np.nan_to_num(numbers), np.log10(known[star][1])])
            labels.append(_STARS.index(known[star][0]))
            stars.append(star)
    return LabelledSet(
        "CRTS stars, seven classes", np.array(rows), np.array(labels), _STARS, np.array(stars), budget=900
    )


def transients(path: Path) -> LabelledSet:
    """Transients of CRTS by features of their light curves; those without a firm class are left out."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    names, rows = _table(path.with_name("crts_labels.csv.gz"))
    key, kind = names.index("TransientID"), names.index("Classification")
    known = {int(row[key]): row[kind] for row in rows}
    ids = [int(text.removeprefix("TranID")) for text in table["__index_level_0__"].to_pylist()]
    values = np.stack([table[name].to_numpy() for name in table.column_names[:-1]], axis=1).astype(np.float64)
    kinds = np.array([known.get(one, "Unknown") for one in ids])
    firm = np.array([not ({"?", "/"} & set(text)) and text != "Unknown" for text in kinds])
    good = firm & np.isfinite(values).all(axis=1)
    return LabelledSet(
        "CRTS transients, supernova or not", values[good], (kinds[good] == "SN").astype(np.int64),
        ("other", "supernova"), np.array(ids)[good], budget=160,
    )  # fmt: skip


def snad_tags(path: Path) -> dict[str, list[str]]:
    """Tags of the experts by object."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {str(one["oid"]): list(one["tags"]) for one in json.load(file)}


def votes(path: Path) -> Votes:
    """The votes of the volunteers of MeerLICHT, one row an answer."""
    names, table = _table(path)
    people = [name for name in names if name.startswith("volunteer")]
    values = np.array([[int(float(row[names.index(name)])) for name in (*people, "label")] for row in table])
    n = len(values)
    return Votes(
        np.repeat(np.arange(n), len(people)),
        np.tile(np.array(people), n),
        values[:, :-1].ravel(),
        values[:, -1],
    )


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows
