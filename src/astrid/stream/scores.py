"""What every model says about each alert, side by side: probability, spread, decision, which model it was.

Chooses the bundles that can see the images of an alert and runs them; training, and what a score is
good for, are elsewhere.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astrid.alerts import Alert, centred_triplet
from astrid.errors import BundleError, PacketError, UsageError
from astrid.learn.bundle import Bundle
from astrid.store.batch import Score
from astrid.survey.realbogus_data import TRIPLET
from astrid.survey.scoring import LIVE, classify, head_labels

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.learn.prediction import HeadPrediction, Predictor

__all__ = ["ScoreColumn", "Scorer", "Scores", "applicable_bundles", "misfit"]

log = logging.getLogger(__name__)

_REPRESENTATION = "astrid.images.cutouts:triplets"  # what `centred_triplet` makes of an alert
_PLANES = TRIPLET.channels
_SYSTEM, _ALIAS = "braai", "realbogus"
_NOT_SCORED = "the images were not looked at"


class ScoreColumn(NamedTuple):
    """One column of scores in a candidate row.

    Parameters
    ----------
    name : str
    type : pyarrow.DataType
    unit, meaning : str
    low, high : float or None
        Between which its numbers lie.
    """

    name: str
    type: Any
    unit: str
    meaning: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """What the bundles say about some alerts.

    Parameters
    ----------
    arrays : dict of str to pyarrow.Array
        `Scorer.columns`, a value for each alert: null where it could not be scored.
    records : list of Score
        One for each alert, bundle and label, also where there is no value.
    unscored : list of str
        Why the images of an alert cannot be used; empty where they can.
    """

    arrays: dict[str, pa.Array]
    records: list[Score]
    unscored: list[str]


class _Judge:
    """One bundle, its columns, and where they come from."""

    def __init__(self, bundle: Bundle) -> None:
        from astrid.learn.prediction import Predictor

        self.bundle = bundle
        self.predictor: Predictor = Predictor(bundle)
        ((_, one),) = bundle.task.inputs.items()
        self.size = one.shape[0]
        self.channels = [_PLANES.index(name) for name in one.channels]
        self.prefix = _identifier(bundle.name)

    def images(self, triplets: NDArray[np.float32]) -> NDArray[np.float32]:
        """The planes that the bundle takes, in its order."""
        if self.channels == list(range(len(_PLANES))):
            return triplets
        return np.ascontiguousarray(triplets[..., self.channels])

    def names(self, prefix: str) -> list[tuple[str, str, str, str]]:
        """Head, label, column of the head, and column of the label."""
        heads = self.bundle.task.heads
        names = []
        for head, kind in heads.items():
            base = prefix if len(heads) == 1 else f"{prefix}_{_identifier(head)}"
            labels = head_labels(head, kind)
            plain = len(labels) == 1
            names += [
                (head, label, base, base if plain else f"{base}_{_identifier(label)}") for label in labels
            ]
        return names

    def columns(self, prefix: str) -> list[ScoreColumn]:
        """What the arrays of `arrays` are."""
        import pyarrow as pa

        who, real, text = self.bundle.name, pa.float64(), pa.string()
        found: list[ScoreColumn] = []
        bases: dict[str, bool] = {}
        for head, label, base, name in self.names(prefix):
            kind = self.bundle.task.heads[head].kind
            if kind == "regression":
                unit = getattr(self.bundle.task.heads[head], "unit", "")
                found.append(ScoreColumn(name, real, unit, f"{label} by {who}"))
                found.append(ScoreColumn(f"{name}_spread", real, unit, f"its spread over passes of {who}"))
                continue
            found.append(ScoreColumn(name, real, "", f"probability of {label} by {who}, calibrated", 0, 1))
            found.append(ScoreColumn(f"{name}_spread", real, "", _SPREAD, 0, 1))
            bases[base] = kind != "multilabel"
        for base, decides in bases.items():
            if decides:
                found.append(ScoreColumn(f"{base}_decision", text, "", f"the label that {who} decides for"))
                found.append(ScoreColumn(f"{base}_set", text, "", _SET))
        found.append(ScoreColumn(f"{prefix}_applicable", text, "", _APPLICABLE))
        found.append(ScoreColumn(f"{prefix}_hash", text, "", f"identity of the model {who}"))
        return found


_SPREAD = (
    "its standard deviation over the members of an ensemble, or over passes with dropout; null if not asked"
)
_SET = "conformal set: one label, several joined by + (to a person), or novel; null where the model has none"
_APPLICABLE = "empty where the model applies, else why the images are unlike its training data"


class Scorer:
    """Bundles, ready to score alerts.

    Parameters
    ----------
    bundles : sequence of Bundle, str or Path, optional
        Bundles, their names or paths, or ``live``; every one of the registry that can see the images of
        an alert if not given.
    dropout : bool
        Also the spread over passes with dropout, where a bundle has them: ten times the cost of the score.

    Raises
    ------
    UsageError
        There is no such bundle, it takes something else than the images of an alert, or two would have
        the same columns.
    BundleError
        A bundle is damaged or cannot be run.
    """

    def __init__(
        self, bundles: Sequence[Bundle | str | Path] | None = None, *, dropout: bool = False
    ) -> None:
        self.dropout = dropout
        self.bundles = applicable_bundles() if bundles is None else tuple(_found(one) for one in bundles)
        self._judges = [_Judge(bundle) for bundle in self.bundles]
        self._alias = next((one for one in self._judges if one.bundle.hash == _live_hash()), None)
        names = [column.name for column in self.columns]
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise UsageError(
                f"two bundles would have a column called {doubled}; give one of them another name"
            )

    @property
    def columns(self) -> tuple[ScoreColumn, ...]:
        """The columns, in order: those of each bundle, and ``realbogus`` of the live one of braai."""
        found = [column for judge in self._judges for column in judge.columns(judge.prefix)]
        if self._alias is not None:
            found += self._alias.columns(_ALIAS)
        return tuple(found)

    def __call__(self, alerts: Sequence[Alert]) -> Scores:
        """Score alerts.

        Parameters
        ----------
        alerts : sequence of Alert
            With their cutouts.

        Returns
        -------
        Scores
            One whose images cannot be used has no values, and the reason.
        """
        arrays: dict[str, pa.Array] = {}
        records: list[Score] = []
        reasons = [""] * len(alerts)
        stacks: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        for judge in self._judges:
            if judge.size not in stacks:
                stacks[judge.size] = _triplets(alerts, judge.size, reasons)
            rows, triplets = stacks[judge.size]
            heads, applicable = classify(judge.predictor, judge.images(triplets), dropout=self.dropout)
            said = _Said(judge, len(alerts), rows, heads, applicable, reasons)
            arrays |= said.arrays()
            records += said.records()
        if self._alias is not None:
            mine = self._alias.prefix
            own = [column.name for column in self._alias.columns(mine)]
            arrays |= {_ALIAS + name.removeprefix(mine): arrays[name] for name in own}
        return Scores(arrays, records, reasons if self._judges else [_NOT_SCORED] * len(alerts))


class _Said:
    """What one bundle said, brought back to the rows of all the alerts."""

    def __init__(
        self,
        judge: _Judge,
        n: int,
        rows: NDArray[np.int64],
        heads: dict[str, HeadPrediction],
        applicable: NDArray[np.str_],
        reasons: list[str],
    ) -> None:
        self._judge, self._n, self._rows, self._heads = judge, n, rows, heads
        # an alert whose pixels are not finite has no score either
        scored = np.isfinite(next(iter(heads.values())).values[:, 0])
        self._unscored = list(reasons)
        for row, reason in zip(rows[~scored].tolist(), applicable[~scored].tolist(), strict=True):
            self._unscored[row] = reasons[row] = reason
        self._applicable = self._words(np.where(scored, applicable, "-"), absent="-")

    def arrays(self) -> dict[str, pa.Array]:
        """The columns of the candidate rows."""
        import pyarrow as pa

        judge, arrays = self._judge, {}
        place: dict[str, int] = {}
        for head, _, base, name in judge.names(judge.prefix):
            k = place[head] = place.get(head, -1) + 1
            said = self._heads[head]
            arrays[name] = pa.array(self._numbers(said.values[:, k]), pa.float64())
            arrays[f"{name}_spread"] = pa.array(self._numbers(said.spread[:, k]), pa.float64())
            if judge.bundle.task.heads[head].kind in ("binary", "multiclass"):
                arrays[f"{base}_decision"] = pa.array(self._words(said.decision), pa.string())
                arrays[f"{base}_set"] = pa.array(self._words(said.labels_in_set), pa.string())
        arrays[f"{judge.prefix}_applicable"] = pa.array(self._applicable, pa.string())
        hashes = [None if reason else judge.bundle.hash for reason in self._unscored]
        arrays[f"{judge.prefix}_hash"] = pa.array(hashes, pa.string())
        return {column.name: arrays[column.name] for column in judge.columns(judge.prefix)}

    def records(self) -> list[Score]:
        """One for each alert and label."""
        bundle = self._judge.bundle
        records: list[Score] = []
        place: dict[str, int] = {}
        several = len(self._heads) > 1
        for head, label, _, _ in self._judge.names(""):
            k = place[head] = place.get(head, -1) + 1
            said = self._heads[head]
            columns = (
                self._numbers(said.values[:, k]), self._numbers(said.spread[:, k]),
                self._words(said.decision), self._words(said.labels_in_set), self._applicable, self._unscored,
            )  # fmt: skip
            name = f"{head}.{label}" if several else label
            records += [
                Score(
                    row,
                    bundle.name,
                    bundle.hash,
                    name,
                    value,
                    spread,
                    decision,
                    found,
                    applies,
                    reason or None,
                )
                for row, (value, spread, decision, found, applies, reason) in enumerate(
                    zip(*columns, strict=True)
                )
            ]
        return records

    def _numbers(self, values: NDArray[np.float32]) -> list[float | None]:
        out: list[float | None] = [None] * self._n
        for row, value in zip(self._rows.tolist(), values.tolist(), strict=True):
            if value == value:  # NaN is what is not known
                out[row] = value
        return out

    def _words(self, words: NDArray[np.str_], absent: str = "") -> list[str | None]:
        out: list[str | None] = [None] * self._n
        for row, word in zip(self._rows.tolist(), words.tolist(), strict=True):
            out[row] = None if word == absent else word
        return out


def _triplets(
    alerts: Sequence[Alert], size: int, reasons: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The images of those alerts that have them, and which these are; the others get their reason."""
    rows: list[int] = []
    images: list[NDArray[np.float32]] = []
    for row, alert in enumerate(alerts):
        try:
            images.append(centred_triplet(alert, size))
            rows.append(row)
        except PacketError as error:
            reasons[row] = str(error)
    stack = np.stack(images) if images else np.zeros((0, size, size, len(_PLANES)), np.float32)
    return np.array(rows, np.int64), stack


def applicable_bundles() -> tuple[Bundle, ...]:
    """Every bundle of the registry that can see the images of an alert: live and candidate, not retired.

    One that is damaged is left out, and the log says so.

    Raises
    ------
    BundleError
        The record of the stages cannot be read.
    """
    from astrid.learn.registry import list_bundles

    found = []
    for entry in list_bundles():
        if entry.problem:
            log.warning("alerts are not scored by %s: %s", entry.name, entry.problem)
        elif entry.stage != "retired":
            bundle = Bundle.load(entry.path, name=entry.name)
            if not misfit(bundle):
                found.append(bundle)
    return tuple(found)


def _found(one: Bundle | str | Path) -> Bundle:
    from astrid.learn.registry import find_bundle, live

    bundle: Bundle | None
    if isinstance(one, Bundle):
        bundle = one
    elif one == LIVE:
        bundle = live(_SYSTEM)
        if bundle is None:
            raise UsageError(
                f"no bundle of {_SYSTEM} is live; make one live with astrid models stage NAME live"
            )
    else:
        bundle = find_bundle(one)
    problem = misfit(bundle)
    if problem:
        raise UsageError(f"{bundle.name} cannot score alerts: {problem}; choose another model")
    return bundle


def misfit(bundle: Bundle) -> str:
    """Why a bundle cannot score the images of an alert; empty if it can."""
    from astrid.images.cutouts import TRIPLET_VERSION

    task = bundle.task
    inputs = list(task.inputs.values())
    if len(inputs) != 1 or not inputs[0].channels or not set(inputs[0].channels) <= set(_PLANES):
        return f"it takes {', '.join(task.inputs)}, which is not the images of an alert"
    shape = inputs[0].shape
    if len(shape) != 3 or shape[0] != shape[1] or shape[0] % 2 == 0:
        return (
            f"it takes images of the shape {shape}, expected a square with an odd number of pixels on a side"
        )
    if task.represent not in ("", _REPRESENTATION) or task.representation_version != TRIPLET_VERSION:
        made = f"{task.represent} {task.representation_version}"
        return f"it takes images made by {made}, these are of {_REPRESENTATION} {TRIPLET_VERSION}"
    if any(head.kind == "heatmap" for head in task.heads.values()):
        return "it answers with an image"
    return ""


def _live_hash() -> str | None:
    from astrid.learn.registry import live

    try:
        bundle = live(_SYSTEM)
    except BundleError as error:
        log.warning("there is no column %s: %s", _ALIAS, error)
        return None
    return None if bundle is None else bundle.hash


def _identifier(name: str) -> str:
    """A name as the name of a column: no quotes are needed in SQL."""
    return re.sub(r"\W", "_", name.lower())
