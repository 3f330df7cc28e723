"""Items as numbers: what a model says of them, what it makes of their images, and what their rows hold.

What to ask is decided from these in `queue`; nothing is chosen or learned here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astrid.alerts import centred_triplet
from astrid.errors import PacketError, StoreError, UsageError
from astrid.survey.realbogus_data import TRIPLET

if TYPE_CHECKING:
    from astrid.learn.bundle import Bundle
    from astrid.review.vocabulary import Vocabulary
    from astrid.store.statements import Key
    from astrid.store.store import Store

__all__ = ["Believed", "Embedded", "believed", "embedded", "numeric"]

log = logging.getLogger(__name__)

_BATCH = 128  # images
_ASKED = 2000  # items whose scores are asked together
_KNOWN = 0.5  # share of the items of which a column must be known
# when and where it was seen says nothing of what it is
_NOT_FEATURES = {"ra", "dec", "healpix", "mjd", "first_mjd", "mjd_before", "batch"}


class Believed(NamedTuple):
    """What one model says of items, as it is stored.

    Parameters
    ----------
    bundle, hash : str or None
        None where no model has said anything.
    probabilities : (n, classes) float64 ndarray
        In the order of the vocabulary's classes; NaN for an item without a score.
    """

    bundle: str | None
    hash: str | None
    probabilities: NDArray[np.float64]


class Embedded(NamedTuple):
    """What a model makes of images.

    Parameters
    ----------
    features : (n, d) float64 ndarray
        Of the network's last layer but one; NaN where an image cannot be used.
    probabilities : (n, classes) float64 ndarray
        NaN there too.
    """

    features: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def believed(
    store: Store,
    vocabulary: Vocabulary,
    keys: Sequence[Key],
    bundle: str | None = None,
    hash: str | None = None,
) -> Believed:
    """What a model of the task has said of items, from the store.

    Parameters
    ----------
    store : Store
    vocabulary : Vocabulary
    keys : sequence of (survey, alert_id)
    bundle, hash : str, optional
        Which one; of those that have judged any of the items, the one that has judged most, if not given.
    """
    said: dict[tuple[str, str], dict[tuple[Key, str], float]] = {}
    for start in range(0, len(keys), _ASKED):
        for row in store.scores(keys=keys[start : start + _ASKED], bundle=bundle).to_pylist():
            name = row["bundle"]
            if row["value"] is None or name.partition(".")[0] != vocabulary.task:
                continue
            if hash is None or row["hash"] == hash:
                item = (row["survey"], row["alert_id"])
                said.setdefault((name, row["hash"]), {})[item, row["label"]] = row["value"]
    found = np.full((len(keys), len(vocabulary.classes)), np.nan)
    if not said:
        return Believed(None, None, found)
    who = max(said, key=lambda one: len(said[one]))
    values = said[who]
    for k, label in enumerate(vocabulary.classes):
        found[:, k] = [values.get((key, label), np.nan) for key in keys]
    return Believed(*who, _whole(found))


def _whole(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of two classes only the probability of the second is stored; what is not known at all is NaN."""
    if values.shape[1] == 2:
        values[:, 0] = 1 - values[:, 1]
    values[~np.isfinite(values).all(axis=1)] = np.nan
    total = values.sum(axis=1, keepdims=True)
    return np.where(total > 0, np.clip(values, 0, None) / total, np.nan)


def embedded(
    store: Store,
    bundle: Bundle,
    vocabulary: Vocabulary,
    keys: Sequence[Key],
    on_progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """What a model makes of the images of items, from their packets; needs the extra ``train``.

    Parameters
    ----------
    store : Store
    bundle : Bundle
        Of a task on the images of an alert.
    vocabulary : Vocabulary
    keys : sequence of (survey, alert_id)
    on_progress : callable, optional
        Called with the number of items that are done and of all.

    Raises
    ------
    UsageError
        The model takes something else.
    """
    import torch

    from astrid.learn.prediction import Predictor
    from astrid.stream.scores import misfit
    from astrid.stream.stored import stored_alert

    problem = misfit(bundle)
    network = bundle.networks()[0]
    if problem or not hasattr(network, "embed"):
        raise UsageError(f"{bundle.name} cannot look at alerts ({problem or 'it has no embed'}); use columns")
    predictor = Predictor(bundle)
    ((name, one),) = bundle.task.inputs.items()
    channels = [TRIPLET.channels.index(channel) for channel in one.channels]
    features: NDArray[np.float64] | None = None
    probabilities = np.full((len(keys), len(vocabulary.classes)), np.nan)
    unusable: Counter[str] = Counter()
    for start in range(0, len(keys), _BATCH):
        rows, images = [], []
        for row, key in enumerate(keys[start : start + _BATCH], start):
            try:
                alert = stored_alert(store, *key, history=False)
                images.append(centred_triplet(alert, one.shape[0])[..., channels])
                rows.append(row)
            except (PacketError, StoreError) as error:
                unusable[type(error).__name__] += 1
        if rows:
            stack = np.ascontiguousarray(np.stack(images))
            with torch.inference_mode():
                made = network.embed(**{name: torch.from_numpy(stack)}).float().numpy()
            if features is None:
                features = np.full((len(keys), made.shape[1]), np.nan)
            features[rows] = made
            values = predictor({name: stack}, spread=False).heads[vocabulary.head].values
            probabilities[rows, -values.shape[1] :] = values  # of two classes, the second
        if on_progress is not None:
            on_progress(min(start + _BATCH, len(keys)), len(keys))
    if unusable:
        log.warning("of %d of %d items the images cannot be used", unusable.total(), len(keys))
    if features is None:
        features = np.full((len(keys), 1), np.nan)
    return Embedded(features, _whole(probabilities))


def numeric(store: Store, keys: Sequence[Key], columns: Sequence[str]) -> NDArray[np.float64]:
    """The numbers in the rows of items, each brought to a like width; what is not known is in the middle.

    Parameters
    ----------
    store : Store
    keys : sequence of (survey, alert_id)
    columns : sequence of str
        That can be of use; those that are known of less than half of the items, or never differ, are not
        used.

    Returns
    -------
    features : (n, d) float64 ndarray
        Distance from the median in units of the quartiles, of which far ones are taken as logarithms.
    """
    wanted = [name for name in columns if name not in _NOT_FEATURES]
    table = store.candidates(list(keys), wanted)
    found = []
    for name in table.column_names:
        values = table[name].cast("float64").to_numpy().astype(np.float64)
        known = ~np.isnan(values)
        if known.mean() < _KNOWN:
            continue
        low, middle, high = np.percentile(values[known], (25, 50, 75), method="nearest")
        width = high - low if np.isfinite(high - low) and high > low else 1.0
        if not np.isfinite(middle):  # most are infinitely far, such as from a source of a catalogue
            found.append(np.isfinite(values).astype(np.float64))
            continue
        scaled = np.arcsinh((np.where(known, values, middle) - middle) / width)
        finite = np.isfinite(scaled)
        most = np.abs(scaled[finite]).max()
        found.append(np.where(finite, scaled, np.sign(scaled) * (most + 1)))
    kept = [one for one in found if np.ptp(one) > 0]
    return np.stack(kept, axis=1) if kept else np.zeros((len(keys), 0))
