"""Explaining what a bundle says about one item: choose a method, run it, and test what it found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import PredictionError, UsageError
from astrid.learn.bundle import Bundle
from astrid.learn.explanation.gradients import deeplift_shap, gradcam, integrated_gradients
from astrid.learn.explanation.item import Item
from astrid.learn.explanation.lime import lime
from astrid.learn.explanation.network import Rebuilt, rebuilt, require_captum
from astrid.learn.explanation.occlusion import channels, occlusion
from astrid.learn.explanation.perturbation import perturbation
from astrid.learn.explanation.question import Question, Score, Target, asked
from astrid.learn.explanation.result import Attribution, Explanation, Unit
from astrid.learn.explanation.sanity import draws_for, randomised_model, similarity
from astrid.learn.explanation.shapley import EXACT, kernel_shap, shapley_exact
from astrid.learn.prediction import Predictor

__all__ = ["METHODS", "explain"]

METHODS: dict[str, Unit] = {
    "occlusion": "logit",
    "occlusion_by_channel": "logit",
    "channels": "logit",
    "perturbation": "probability",
    "lime": "logit",
    "shapley_exact": "logit",
    "kernel_shap": "logit",
    "gradcam": "logit",
    "integrated_gradients": "logit",
    "deeplift_shap": "logit",
}
"""Every method, and what it explains unless told otherwise.

Logits add up, and what speaks for a certain answer shows in them where the probability stays 1;
the curves of a perturbation are read more easily as probabilities.
"""

_BY_GRADIENT = ("gradcam", "integrated_gradients", "deeplift_shap")
_TOLERATED = 0.05  # share of the values' sum that may be missing before it is said


def explain(
    bundle: Bundle,
    inputs: Mapping[str, NDArray[Any]],
    *,
    method: str = "auto",
    head: str | None = None,
    target: Target = None,
    background: Mapping[str, NDArray[Any]] | None = None,
    of: Literal["logit", "probability"] | None = None,
    samples: int | None = None,
    window: int | None = None,
    seed: int = 0,
    sanity: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Why a bundle says what it says about one item.

    Parameters
    ----------
    bundle : Bundle
    inputs : mapping of str to (...) ndarray
        One item, without batch axis, as `Predictor` takes it.
    method : str
        One of `METHODS`, or ``auto``: exact Shapley values for 12 numbers or fewer, occlusion where
        an input is an image or a series, else LIME.
    head : str, optional
        The first one if not given.
    target : str, int or (int, int), optional
        A label or number of the head, or the pixel of a heat map. Not given: the positive label,
        the highest class, the first number, the highest pixel.
    background : mapping of str to (m, ...) ndarray, optional
        Items of the training data. Methods that hide parts of the item put their mean there;
        ``shapley_exact`` and ``deeplift_shap`` take them one by one, and at most 64 and 16. Without
        them see `Explanation.replaced_by`.
    of : {"logit", "probability"}, optional
        Not by gradients, which explain the logit; see `METHODS` and `Explanation.of`.
    samples : int, optional
        Copies for LIME and KernelSHAP, steps for integrated gradients.
    window : int, optional
        Size of what is hidden in images and series, in pixels or points.
    seed : int
    sanity : bool
        Also explain networks with random weights, which costs three to ten times as much again.
    on_progress : callable, optional
        Told how many explanations of how many are done, those of random networks included.

    Returns
    -------
    Explanation
        The same for the same arguments, but for its `seconds`.

    Raises
    ------
    UsageError
        No such method, head, target or window, or a method that does not suit the model.
    PredictionError
        The inputs or the background are not what the model expects.
    DependencyError
        ``gradcam``, ``integrated_gradients``, ``deeplift_shap`` and ``kernel_shap`` need the extra
        ``train``.
    """
    if method not in ("auto", *METHODS):
        raise UsageError(f"there is no method {method!r}; choose one of: auto, {', '.join(METHODS)}")
    if of not in (None, "logit", "probability"):
        raise UsageError(f"of is {of!r}; give logit or probability, or leave it out")
    predictor = Predictor(bundle)
    run = predictor.logits
    applicable = str(predictor({name: np.asarray(one)[None] for name, one in inputs.items()}).applicable[0])
    item = Item.of(bundle, inputs, background)
    if method == "auto":
        method = _chosen(item)
    if method in _BY_GRADIENT and of == "probability":
        raise UsageError(f"{method} explains the logit; leave out of='probability', or use occlusion")
    outputs = run({name: one[None] for name, one in item.inputs.items()})
    question = asked(bundle, outputs, head, target, of or METHODS[method])
    if method == "kernel_shap":
        require_captum()
        import sklearn.linear_model  # noqa: F401 - captum fits with it; loading is not the method's time
    model = rebuilt(bundle, question) if method in _BY_GRADIENT else Score(run, question, item.inputs)
    began = time.perf_counter()
    found = _found(method, model, item, seed, samples, window)
    seconds = time.perf_counter() - began
    n_evals = model.evaluations
    if not all(np.isfinite(values).all() for values in found.values.values()):
        raise PredictionError(
            f"{method} gave {bundle.name} values that are not finite; use occlusion, which needs no gradient"
        )
    likeness: float | None = None
    notes: list[str] = []
    if sanity:

        def again(draw: int) -> Attribution | None:
            random = _randomised(bundle, model, item, question, seed + 1 + draw)
            return None if random is None else _found(method, random, item, seed, samples, window)

        likeness, notes = _sanity(found, again, on_progress)
    prediction = float(question.scores(outputs)[0])
    error = None
    if found.base_value is not None:
        total = math.fsum(float(values.sum()) for values in found.values.values())
        error = total + found.base_value - prediction
        if abs(error) > _TOLERATED * abs(prediction - found.base_value) + 1e-4:
            notes.append("the values do not add up to the prediction; read them with care")
    return Explanation(
        method=method,
        head=question.name,
        target=question.label,
        of=question.of,
        inputs=item.inputs,
        positions={name: item.positions(name) for name in item.inputs},
        features={name: item.channel_names(name) for name in item.inputs},
        values=found.values,
        prediction=prediction,
        probability=_probability(question, outputs),
        base_value=found.base_value,
        completeness_error=error,
        sanity=likeness,
        n_evals=n_evals,
        seconds=seconds,
        seed=seed,
        replaced_by=found.replaced_by,
        notes=(*found.notes, *_warnings(bundle, applicable), *notes),
        response=found.response,
        bundle=bundle.name,
        hash=bundle.hash,
    )


def _chosen(item: Item) -> str:
    if item.numbers <= EXACT:
        return "shapley_exact"
    return "lime" if item.only_features else "occlusion"


def _found(
    method: str, model: Score | Rebuilt, item: Item, seed: int, samples: int | None, window: int | None
) -> Attribution:
    """What a method finds about the item with this model."""
    if isinstance(model, Rebuilt):
        match method:
            case "gradcam":
                return gradcam(model, item)
            case "integrated_gradients":
                return integrated_gradients(model, item, seed=seed, samples=samples)
        return deeplift_shap(model, item, seed=seed)
    match method:
        case "channels":
            return channels(model, item)
        case "perturbation":
            return perturbation(model, item)
        case "lime":
            return lime(model, item, seed=seed, samples=samples, window=window)
        case "shapley_exact":
            return shapley_exact(model, item, seed=seed)
        case "kernel_shap":
            return kernel_shap(model, item, seed=seed, samples=samples, window=window)
    return occlusion(model, item, by_channel=method == "occlusion_by_channel", window=window)


def _randomised(
    bundle: Bundle, model: Score | Rebuilt, item: Item, question: Question, seed: int
) -> Score | Rebuilt | None:
    if isinstance(model, Rebuilt):
        return model.randomised(seed)
    run = randomised_model(bundle, seed)
    return None if run is None else Score(run, question, item.inputs)


def _sanity(
    found: Attribution,
    again: Callable[[int], Attribution | None],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[float | None, list[str]]:
    """Mean likeness to the explanations of random networks, or why there is none."""
    if similarity(found, found) is None:
        return None, ["no sanity score: the values are fewer than three, or all of one size"]
    draws = draws_for(found)
    likenesses = []
    for draw in range(draws):
        if on_progress:
            on_progress(draw + 1, draws + 1)
        random = again(draw)
        if random is None:
            return None, ['no sanity score: it needs onnx; pip install "astrid[train]"']
        likenesses.append(similarity(found, random) or 0.0)
    if on_progress:
        on_progress(draws + 1, draws + 1)
    return math.fsum(likenesses) / draws, []


def _probability(question: Question, outputs: Mapping[str, NDArray[np.float32]]) -> float | None:
    if question.of == "value":
        return None
    return float(replace(question, of="probability").scores(outputs)[0])


def _warnings(bundle: Bundle, applicable: str) -> list[str]:
    said = [f"the model may not apply: {applicable}"] if applicable else []
    uncertainty = bundle.card.uncertainty
    if uncertainty.method == "ensemble":
        said.append(f"mean over the {uncertainty.passes} members of the ensemble")
    return said
