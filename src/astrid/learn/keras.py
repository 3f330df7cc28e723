"""Published Keras weights as a bundle of ours, with their origin and licence in the card.

Layers are matched by their order, and every shape is compared; what does not fit is refused, not
guessed. A Keras installation is not needed, and a Keras graph is not read: the task's network says
what is done with the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import BundleError, DependencyError
from astrid.files.record import sha256
from astrid.learn.bundle import Bundle, Card, save_bundle
from astrid.learn.task import Task

if TYPE_CHECKING:
    from torch import nn

__all__ = ["import_keras", "read_keras"]

Layers = dict[str, dict[str, NDArray[Any]]]

_AXES = {"Conv1d": (2, 1, 0), "Conv2d": (3, 2, 0, 1), "Linear": (1, 0)}
"""How a Keras kernel becomes a torch weight, by the kind of layer."""


def import_keras(
    path: str | Path,
    task: Task,
    out: str | Path,
    name: str,
    *,
    normalization: str | None = None,
    origin: str,
    licence: str,
    limits: str = "",
    command: str = "",
) -> Bundle:
    """Make a bundle of published weights.

    Parameters
    ----------
    path : str or Path
        An HDF5 file with weights only, or with a whole model.
    task : Task
        Its network must be the published one.
    out : str or Path
    name : str
        ``system.tag``.
    normalization : str, optional
        That the weights were trained with, where it is not the task's.
    origin, licence : str
        Whose weights these are and where they were published, and under which terms.
    limits : str
        Where the model must not be used, beyond what the task says.
    command : str

    Returns
    -------
    bundle : Bundle
        Not calibrated, and without a spread.

    Raises
    ------
    BundleError
        The file is damaged or foreign, or its layers are not those of the network.
    DependencyError
        The extra ``train`` is not installed.
    OutputError
        The bundle cannot be written.
    """
    from astrid.learn.export import check_name, export

    file = Path(path)
    check_name(name, task)
    layers = read_keras(file)
    if normalization is not None:
        task = task.with_network_options({"normalization": normalization})
    network = task.build_network().eval()
    weights = _fitted(layers, network, file, task)
    try:
        import torch
    except ImportError as error:
        raise DependencyError('this needs torch; pip install "astrid[train]"') from error
    network.load_state_dict({name: torch.from_numpy(one) for name, one in weights.items()})
    exported = export([network], task)
    card = Card(
        name=name,
        task=task,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        origin=f"{origin}; imported from {file.name}, SHA-256 {sha256(file)}",
        licence=licence,
        parity=exported.parity,
        limits=" ".join(text for text in (task.limits, limits) if text),
        command=command,
    )
    return save_bundle(out, card, exported.files, weights)


def read_keras(path: str | Path) -> Layers:
    """The layers of a Keras file that have weights, in order: name to ``kernel``, ``bias``, …

    Raises
    ------
    BundleError
        The file is damaged, or is not Keras HDF5.
    """
    import h5py

    file = Path(path)
    if not file.is_file():
        raise BundleError(f"{file}: there is no such file; give an HDF5 file of Keras weights")
    try:
        with h5py.File(file) as content:
            root = content.get("model_weights", content)
            if "layer_names" not in root.attrs:
                raise BundleError(
                    f"{file}: has no list of layers, so that their order is not known; save it with Keras as "
                    "HDF5 (.h5), not as .keras or .weights.h5 of Keras 3"
                )
            layers = {name: _weights(root[name]) for name in _texts(root.attrs["layer_names"])}
    except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{file}: cannot be read as Keras weights ({reason}); fetch it again") from error
    return {name: arrays for name, arrays in layers.items() if arrays}


def _weights(group: Any) -> dict[str, NDArray[Any]]:
    # "conv1/kernel:0" is called kernel
    names = {name.rpartition("/")[2].partition(":")[0]: name for name in _texts(group.attrs["weight_names"])}
    return {short: np.asarray(group[name], np.float32) for short, name in names.items()}


def _texts(values: Any) -> list[str]:
    return [one.decode() if isinstance(one, bytes) else str(one) for one in np.asarray(values).tolist()]


def _fitted(layers: Layers, network: nn.Module, path: Path, task: Task) -> dict[str, NDArray[np.float32]]:
    """The network's parameters by name, from the layers of the file."""
    own = {
        name: one
        for name, one in network.named_modules()
        if next(one.parameters(recurse=False), None) is not None
    }
    if len(own) != len(layers):
        raise BundleError(
            f"{path}: has {len(layers)} layers with weights ({', '.join(layers)}), {task.network} has "
            f"{len(own)} ({', '.join(own)}); import it for the task with that network"
        )
    weights = {}
    for (theirs, arrays), (ours, module) in zip(layers.items(), own.items(), strict=True):
        where = f"{path}: layer {theirs}"
        axes = _AXES.get(type(module).__name__)
        if axes is None:
            raise BundleError(
                f"{where} would become {ours}, a {type(module).__name__}, which cannot be imported"
            )
        _compare(where, ours, _as_keras(module, axes), arrays)
        weights[f"{ours}.weight"] = np.ascontiguousarray(arrays["kernel"].transpose(axes))
        if "bias" in arrays:
            weights[f"{ours}.bias"] = arrays["bias"]
    return weights


def _as_keras(module: Any, axes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes that the weights of a layer of ours have in Keras."""
    back = np.argsort(axes)
    shapes = {"kernel": tuple(int(module.weight.shape[axis]) for axis in back)}
    return shapes if module.bias is None else shapes | {"bias": tuple(module.bias.shape)}


def _compare(
    where: str, ours: str, wanted: Mapping[str, tuple[int, ...]], arrays: Mapping[str, NDArray[Any]]
) -> None:
    if set(wanted) != set(arrays):
        raise BundleError(
            f"{where} has {' and '.join(arrays)}, expected {' and '.join(wanted)} as {ours} has; import it "
            "for the task with that network"
        )
    for part, shape in wanted.items():
        if arrays[part].shape != shape:
            raise BundleError(
                f"{where} has a {part} of shape {arrays[part].shape}, expected {shape} as {ours} has; import "
                "it for the task with that network"
            )
        if not np.isfinite(arrays[part]).all():
            raise BundleError(f"{where} has a {part} with numbers that are not finite; fetch the file again")
