"""Explanations from the network itself: Grad-CAM, integrated gradients and DeepLIFT-SHAP, by captum.

What is explained is the logit, as the mean over the members of an ensemble; all need torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from astrid.errors import UsageError
from astrid.learn.explanation.item import Item
from astrid.learn.explanation.network import Rebuilt, doors_of, entered, scalar, tensors
from astrid.learn.explanation.question import Arrays
from astrid.learn.explanation.result import Attribution

__all__ = ["deeplift_shap", "gradcam", "integrated_gradients"]

_STEPS = 128  # of the integral; with 64 the completeness error of braai reaches 2 %, with 128 1 %
_STEP_BATCH = 16
_ROWS = 16  # of the background


def gradcam(model: Rebuilt, item: Item) -> Attribution:
    """Grad-CAM: the last convolution's maps, weighted by their mean gradient, over the positions.

    The negative part is kept: it is what speaks against the target.

    Parameters
    ----------
    model : Rebuilt
    item : Item

    Returns
    -------
    Attribution
        Of the first input with as many axes of positions as the convolution has; the last axis
        has length 1. In units of its own.

    Raises
    ------
    UsageError
        The network names no convolution, or no input fits it.

    References
    ----------
    Selvaraju et al. 2017, arXiv:1610.02391, eq. 1 and 2.
    """
    import torch
    from captum.attr import LayerGradCam

    modes = {1: "linear", 2: "bilinear", 3: "trilinear"}
    inputs = tensors({name: array[None] for name, array in item.inputs.items()})
    total: Any = None
    for network in model.networks:
        layer = getattr(network, "gradcam_layer", None)
        if layer is None:
            raise UsageError(
                f"{type(network).__name__} has no convolution for Grad-CAM; use integrated_gradients"
            )
        whole = scalar(model, network, item, {})
        with _quiet():
            found = LayerGradCam(whole, network.get_submodule(layer)).attribute(tuple(inputs.values()))
        total = found if total is None else total + found
    total = total.detach() / len(model.networks)
    axes = total.ndim - 2
    name = next((one for one in item.inputs if item.positions(one) == axes), None)
    if name is None or axes not in modes:
        raise UsageError(
            f"the convolution has {axes} axes of positions, but no input has; use integrated_gradients"
        )
    shape = item.inputs[name].shape
    sized = torch.nn.functional.interpolate(total, shape[:axes], mode=modes[axes], align_corners=False)
    values = sized[0, 0].double().numpy()
    coarse = " x ".join(map(str, total.shape[2:]))
    notes = [f"the map has {coarse} positions and was interpolated"]
    if len(item.inputs) > 1:
        notes.append(f"the map says nothing about inputs other than {name}")
    return Attribution({name: values[..., None] if len(shape) > axes else values}, notes=tuple(notes))


def integrated_gradients(model: Rebuilt, item: Item, *, seed: int, samples: int | None) -> Attribution:
    """Integrated gradients along the straight line from what replaces the item to the item.

    Parameters
    ----------
    model : Rebuilt
    item : Item
    seed : int
        Of the choice of 16 background items, where there are more.
    samples : int, optional
        Steps of the integral (Gauss-Legendre); 128 if not given.

    Returns
    -------
    Attribution

    References
    ----------
    Sundararajan et al. 2017, arXiv:1703.01365, eq. 1.
    """
    from captum.attr import IntegratedGradients

    def attribute(whole: Any, inputs: tuple[Any, ...], rows: tuple[Any, ...]) -> tuple[Any, Any]:
        baselines = tuple(one.mean(dim=0, keepdim=True) for one in rows)
        found = IntegratedGradients(whole).attribute(
            inputs, baselines, n_steps=samples or _STEPS, internal_batch_size=_STEP_BATCH
        )
        return found, whole(*baselines)

    return _attributed(model, item, attribute, item.background_rows(_ROWS, seed, "the mean of"))


def deeplift_shap(model: Rebuilt, item: Item, *, seed: int) -> Attribution:
    """DeepLIFT (rescale rule), as the mean over background items.

    Complete only for networks whose activations and pooling are modules, each used once.

    Parameters
    ----------
    model : Rebuilt
    item : Item
    seed : int
        Of the choice of 16 background items, where there are more.

    Returns
    -------
    Attribution

    References
    ----------
    Shrikumar et al. 2017, arXiv:1704.02685, section 3; Lundberg & Lee 2017, arXiv:1705.07874,
    section 4.2.
    """
    from captum.attr import DeepLiftShap

    def attribute(whole: Any, inputs: tuple[Any, ...], rows: tuple[Any, ...]) -> tuple[Any, Any]:
        several = rows if len(rows[0]) > 1 else tuple(one.repeat_interleave(2, 0) for one in rows)
        found = DeepLiftShap(whole).attribute(inputs, baselines=several)
        return found, whole(*rows).mean()

    return _attributed(model, item, attribute, item.background_rows(_ROWS, seed, "each of"))


_Attribute = Callable[[Any, tuple[Any, ...], tuple[Any, ...]], tuple[Any, Any]]


def _attributed(
    model: Rebuilt, item: Item, attribute: _Attribute, background: tuple[Arrays, str]
) -> Attribution:
    """Mean over the networks of what a method finds, each behind its own normalisation.

    A network begins with its normalisation, and a straight line from an empty image to the item
    is a single point once every image is divided by its norm. So values are found for the numbers
    as they enter the first layer with weights, wherever that can be told.
    """
    import torch

    rows, replaced_by = background
    names = tuple(item.inputs)
    values = {name: np.zeros(item.inputs[name].shape) for name in names}
    base, behind = 0.0, set(names)
    for network in model.networks:
        doors = doors_of(network, item)
        behind &= set(doors)
        inside = entered(network, {name: one[None] for name, one in item.inputs.items()}, doors)
        hidden = entered(network, rows, doors)
        if item.background is None:
            for name, one in inside.items():
                positions = item.positions(name)
                if positions:  # the middle of what enters, not what becomes of an empty image
                    middle = np.median(one, axis=tuple(range(1, positions + 1)), keepdims=True)
                    hidden[name] = np.broadcast_to(middle, one.shape).copy()
        whole = scalar(model, network, item, doors)
        with _quiet():
            found, at_base = attribute(
                whole, tuple(tensors(inside).values()), tuple(tensors(hidden).values())
            )
        for name, one in zip(names, found, strict=True):
            values[name] += one.detach()[0].double().numpy() / len(model.networks)
        with torch.no_grad():
            base += float(at_base) / len(model.networks)
    notes = (
        (f"the values are of {', '.join(sorted(behind))} as the network's own normalisation leaves it",)
        if behind
        else ()
    )
    return Attribution(values, base, replaced_by, notes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without captum's remarks on the hooks and gradients that it sets and removes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, message=r"\s*(Setting forward|Input Tensor)")
        yield
