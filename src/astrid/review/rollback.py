"""One step back: the bundle that was in use before a retraining is in use again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from astrid.errors import BundleError, UsageError
from astrid.learn.registry import find_bundle, live
from astrid.review.promotion import finish
from astrid.review.retraining import alone
from astrid.store.trainings import TrainingRecord

if TYPE_CHECKING:
    from astrid.store.store import Store

__all__ = ["rollback"]


def rollback(store: Store, task: str = "braai", *, user: str, reason: str = "") -> TrainingRecord:
    """Bring back the bundle that the last retraining has replaced, and retire the one that replaced it.

    Done again, it goes one retraining further back. The answers are kept, and so is the bundle that is
    retired: ``astrid models stage`` brings it back.

    Parameters
    ----------
    store : Store
    task : str
    user : str
        Who asks for it.
    reason : str
        Why, for the record.

    Returns
    -------
    record : TrainingRecord

    Raises
    ------
    UsageError
        The bundle in use was not made live by a retraining of this store.
    BundleError
        The one before is gone or is another one now.
    StoreError
        A training of this store runs.
    """
    with alone(store):
        finish(store.trainings, task)
        present = live(task)
        records = [] if present is None else store.trainings.list(task)
        made = [
            one for one in records
            if one.verdict == "promoted" and present is not None and one.hash == present.hash
        ]  # fmt: skip
        if present is None or not made:
            now = "no bundle" if present is None else present.name
            raise UsageError(
                f"{now} is live for {task}, which no retraining of {store.folder} has made so; choose one "
                "with astrid models stage NAME live"
            )
        before = str(made[-1].against)
        try:
            wanted = find_bundle(before)
        except UsageError as error:
            raise BundleError(f"{before} was in use before and is gone; bring it back first") from error
        if wanted.hash != made[-1].against_hash:
            raise BundleError(
                f"{before} is no longer the model that was in use before; choose one with astrid models stage"
            )
        store.trainings.add(
            TrainingRecord(
                0, task, time.time(), user, wanted.name, wanted.hash, present.name, present.hash, 0, 0,
                "rolling back", reason or f"{user} went back from {present.name} to {wanted.name}", {},
            )
        )  # fmt: skip
        record = finish(store.trainings, task)[-1]
        if record.verdict != "rolled back":
            raise BundleError(record.reason)
        return record
