"""Growing boosted trees where others train by gradients: the same task, data, split, run and products.

XGBoost does the work; the trees become the weights of a network (`astrid.networks.trees`), so that
all that comes after a training knows no difference.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DependencyError, TrainingError, UsageError
from astrid.files.atomic import atomic_path
from astrid.learn.dataset import Dataset
from astrid.learn.sampling import class_weights
from astrid.learn.settings import Training
from astrid.learn.splits import Parts
from astrid.learn.task import Head, Task, imported
from astrid.learn.tracking import draw_curves, write_metrics

__all__ = ["grow", "is_grown"]

OnEpoch = Callable[[int, Mapping[str, float]], None]
_MONITOR = "validation/loss"


def is_grown(task: Task) -> bool:
    """Whether the task's network consists of trees."""
    return bool(getattr(imported(task.network), "grown", False))


def grow(
    task: Task,
    dataset: Dataset,
    path: Path,
    settings: Training,
    parts: Parts,
    record: dict[str, Any],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Grow the trees of each head and write the products of a training.

    Rounds are the epochs of the settings, `patience` ends a head that gains no more on the
    validation part, and the optimizer's learning rate is the shrinkage. Rows without a label are
    left out.

    Parameters
    ----------
    task : Task
    dataset : Dataset
    path : Path
        The run directory.
    settings : Training
    parts : Parts
    record : dict
        Of the run; filled in.
    on_progress, on_epoch : callable, optional

    Raises
    ------
    UsageError
        Settings that have no meaning for trees.
    TrainingError
        XGBoost refuses the data.
    DependencyError
        The extra ``train`` is not installed.
    """
    from safetensors.torch import save_file

    _refuse(settings)
    network = task.build_network()
    inputs = {name: _numbers(dataset, task, getattr(parts, name)) for name in ("train", "validation")}
    total = settings.epochs * len(task.heads)
    began = time.monotonic()
    history: list[dict[str, float]] = []
    wood = {}
    best: dict[str, tuple[int, float]] = {}
    for number, (name, head) in enumerate(task.heads.items()):
        labels = dataset.labels(name, head)

        def step(round_: int, figures: Mapping[str, float], first: int = number * settings.epochs) -> None:
            if round_ == len(history):
                history.append({"epoch": round_, "seconds": round(time.monotonic() - began, 3)})
            for key, value in figures.items():
                history[round_][key] = history[round_].get(key, 0.0) + value
            if on_progress is not None:
                on_progress(first + round_ + 1, total)
            if on_epoch is not None:
                on_epoch(round_, figures)

        wood[name], best[name] = _head(
            head,
            (inputs["train"], labels[parts.train]),
            (inputs["validation"], labels[parts.validation]),
            settings,
            dict(network.options),
            network.depth,
            step,
        )
    network.fill(wood)
    with atomic_path(path / "best.safetensors") as partial:
        weights = {key: value.contiguous() for key, value in network.state_dict().items()}
        save_file(weights, partial, {"epoch": str(max(one for one, _ in best.values()))})
    record |= {
        "parameters": sum(one.numel() for one in weights.values()),
        "fresh": [],
        "device": "cpu",
        "epochs": len(history),
        "best_epoch": max(one for one, _ in best.values()),
        "best": sum(value for _, value in best.values()),
    }
    write_metrics(path / "metrics.jsonl", history)
    draw_curves(path / "curves.png", history, _MONITOR, record["best_epoch"])
    if on_progress is not None:
        on_progress(total, total)


def _refuse(settings: Training) -> None:
    for name, wanted in (("augment", "none"), ("sampling", "shuffle"), ("monitor", _MONITOR)):
        if getattr(settings, name) != wanted:
            raise UsageError(
                f"{name} is {getattr(settings, name)!r}, which trees cannot follow; set it to {wanted!r}"
            )


def _numbers(dataset: Dataset, task: Task, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """All inputs in one row, in the order of the network."""
    return np.concatenate([dataset.take(name, rows).reshape(len(rows), -1) for name in task.inputs], axis=1)


def _head(
    head: Head,
    train: tuple[NDArray[np.float32], NDArray[Any]],
    validation: tuple[NDArray[np.float32], NDArray[Any]],
    settings: Training,
    options: dict[str, Any],
    depth: int,
    step: Callable[[int, Mapping[str, float]], None],
) -> tuple[dict[str, NDArray[Any]], tuple[int, float]]:
    """The trees of one head; its best round and the loss there, summed over its outputs."""
    if head.kind == "heatmap":
        raise UsageError("trees cannot give a heat map; choose another network")
    options |= {"eta": settings.optimizer.lr, "seed": settings.seed, "nthread": settings.threads or None}
    trees: list[Any] = []
    outputs: list[int] = []
    base = np.zeros(head.size, np.float32)
    last, loss = 0, 0.0
    together = head.kind == "multiclass"
    for k in range(1 if together else head.size):
        columns = [labels if labels.ndim == 1 else labels[:, k] for _, labels in (train, validation)]
        objective: dict[str, Any]
        if together:
            objective = {"objective": "multi:softprob", "num_class": head.size, "base_score": 0.5}
        elif head.kind == "regression":
            base[k] = np.nanmean(columns[0])
            objective = {"objective": "reg:squarederror", "base_score": float(base[k])}
        else:
            mean = float(np.clip(np.nanmean(columns[0]), 1e-4, 1 - 1e-4))
            base[k] = np.log(mean / (1 - mean))
            objective = {"objective": "binary:logistic", "base_score": mean}
        weighted = settings.class_weights and head.kind in ("binary", "multiclass")
        weights = class_weights(columns[0], head) if weighted else None
        grown, infos, best = _boost(
            (train[0], columns[0]),
            (validation[0], columns[1]),
            {**options, **objective},
            settings,
            weights,
            step,
        )
        trees += grown
        outputs += infos if together else [k] * len(grown)
        last, loss = max(last, best[0]), loss + best[1]
    wood = {**_complete(trees, depth), "output": np.array(outputs, np.int64), "base": base}
    return wood, (last, loss)


def _boost(
    train: tuple[NDArray[np.float32], NDArray[Any]],
    validation: tuple[NDArray[np.float32], NDArray[Any]],
    options: Mapping[str, Any],
    settings: Training,
    weights: NDArray[np.float64] | None,
    step: Callable[[int, Mapping[str, float]], None],
) -> tuple[list[Any], list[int], tuple[int, float]]:
    """XGBoost's trees up to the best round, which output each adds to, and the best round's loss."""
    try:
        import xgboost
    except ModuleNotFoundError as error:
        raise DependencyError('trees need xgboost; pip install "astrid[train]"') from error

    class Telling(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            step(epoch, {f"{part}/loss": next(iter(log.values()))[-1] for part, log in evals_log.items()})
            return False

    matrices = []
    for x, y in (train, validation):
        known = np.isfinite(y) & (y >= 0) if options["objective"] != "reg:squarederror" else np.isfinite(y)
        weight = None if weights is None else _weights(y[known], weights)
        matrices.append(xgboost.DMatrix(x[known], y[known], weight=weight))
    metric = {"multi:softprob": "mlogloss", "reg:squarederror": "rmse"}.get(options["objective"], "logloss")
    given = {key: value for key, value in options.items() if value is not None}
    try:
        model = xgboost.train(
            {**given, "eval_metric": metric, "tree_method": "hist"},
            matrices[0],
            settings.epochs,
            evals=[(matrices[0], "train"), (matrices[1], "validation")],
            early_stopping_rounds=settings.patience,
            callbacks=[Telling()],
            verbose_eval=False,
        )
    except (xgboost.core.XGBoostError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise TrainingError(
            f"the trees cannot be grown ({reason}); check the data and the settings"
        ) from error
    loss = float(model.best_score)  # which a slice of the trees no longer tells
    model = model[: model.best_iteration + 1]
    written = json.loads(bytes(model.save_raw("json")))["learner"]["gradient_booster"]["model"]
    return written["trees"], written["tree_info"], (int(model.num_boosted_rounds()) - 1, loss)


def _weights(labels: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row; a label between two classes shares theirs."""
    if np.issubdtype(labels.dtype, np.integer):
        return weights[labels]
    return np.asarray(weights[0] * (1 - labels) + weights[1] * labels)


def _complete(trees: Sequence[Mapping[str, Any]], depth: int) -> dict[str, NDArray[Any]]:
    """Trees as XGBoost writes them in JSON, filled up to the same depth.

    Below a leaf that is not at the bottom all leaves have its value.

    """
    inner = 2**depth - 1
    feature = np.zeros((len(trees), inner), np.int64)
    threshold = np.full((len(trees), inner), np.inf, np.float32)
    leaf = np.zeros((len(trees), inner + 1), np.float32)
    for k, tree in enumerate(trees):
        waiting = [(0, 0)]  # a node of XGBoost's and its place in ours
        while waiting:
            node, place = waiting.pop()
            end = tree["left_children"][node] < 0
            if place >= inner:
                leaf[k, place - inner] = tree["split_conditions"][node]
                continue
            if not end:
                feature[k, place] = tree["split_indices"][node]
                threshold[k, place] = tree["split_conditions"][node]
            left, right = (node, node) if end else (tree["left_children"][node], tree["right_children"][node])
            waiting += [(left, 2 * place + 1), (right, 2 * place + 2)]
    return {"feature": feature, "threshold": threshold, "leaf": leaf}
