"""The state of a training as one file without pickles: tensors in safetensors, the rest as JSON.

The JSON stands in the file's own metadata, so that both are replaced in one step. What the state
consists of is decided in `journal`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid.errors import TrainingError
from astrid.files.atomic import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["load_checkpoint", "save_checkpoint"]

FORMAT = 1


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all.

    Parameters
    ----------
    path : Path
    state : mapping
        Of mappings, lists, tuples, tensors, numbers, text and None, nested at will.

    Raises
    ------
    OutputError
        The file cannot be written.
    TrainingError
        Something that is none of these.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    text = json.dumps(_packed(state, tensors))
    with atomic_path(path) as partial:
        save_file(tensors, partial, {"format": str(FORMAT), "state": text})


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a state, with its tensors on the CPU.

    Raises
    ------
    TrainingError
        The file is damaged, foreign or of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if int(metadata["format"]) > FORMAT:
            raise TrainingError(f"{path}: is of format {metadata['format']}; update AstrID to resume from it")
        state: dict[str, Any] = _unpacked(json.loads(metadata["state"]), tensors)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path}: is no state of a training ({' '.join(str(error).split())}); train anew into another "
            "directory"
        ) from error
    return state


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    from torch import Tensor

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        name = f"{len(tensors)}"
        # a clone: safetensors refuses tensors that share memory
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"items": [[key, _packed(one, tensors)] for key, one in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_packed(one, tensors) for one in value]}
    raise TrainingError(
        f"a state with a {type(value).__name__} cannot be kept; give numbers, text and tensors"
    )


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "items":
            return {key: _unpacked(one, tensors) for key, one in content}
        case "list":
            return [_unpacked(one, tensors) for one in content]
        case _:
            return tuple(_unpacked(one, tensors) for one in content)
