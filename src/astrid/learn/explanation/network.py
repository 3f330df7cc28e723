"""The network of a bundle in torch, built again, and the one number of it that is explained.

A network begins with its normalisation; where an input goes on from there is found here, so that
methods can begin behind it. The methods themselves are in `gradients`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DependencyError
from astrid.learn.bundle import Bundle
from astrid.learn.explanation.item import Item
from astrid.learn.explanation.question import Arrays, Question
from astrid.learn.explanation.sanity import randomised_kernel

__all__ = ["Door", "Rebuilt", "doors_of", "entered", "rebuilt", "require_captum", "scalar", "tensors"]

_ACTIVATIONS = {"relu": "ReLU", "relu_": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh"}
"""Functions that captum knows only as modules."""


@dataclass(eq=False)
class Rebuilt:
    """The networks of a bundle (several for an ensemble), and one question about them.

    Parameters
    ----------
    networks : list of torch.nn.Module
    question : Question
    evaluations : int
        Items that went through a network so far.
    """

    networks: list[Any]
    question: Question
    evaluations: int = 0

    def randomised(self, seed: int) -> Rebuilt:
        """The same networks with random kernels."""
        import copy

        import torch

        rng = np.random.default_rng(seed)
        networks = [copy.deepcopy(network) for network in self.networks]
        with torch.no_grad():
            for network in networks:
                for one in network.parameters():
                    one.copy_(torch.from_numpy(randomised_kernel(one.numpy(), rng)))
        return Rebuilt(networks, self.question)

    def score(self, outputs: dict[str, Any]) -> Any:
        """The number that is explained, (n,), from the outputs of one network."""
        values = outputs[self.question.name].flatten(1)
        if self.question.centred:
            values = values - values.mean(dim=1, keepdim=True)
        return self.question.sign * values[:, self.question.index]


def require_captum() -> None:
    """Load captum, and with it torch, so that neither is absent later nor counted as time of a method.

    Raises
    ------
    DependencyError
        One of them is not installed.
    """
    try:
        import captum.attr  # noqa: F401 - only to have it loaded
    except ImportError as error:
        raise DependencyError('this method needs torch and captum; pip install "astrid[train]"') from error


def rebuilt(bundle: Bundle, question: Question) -> Rebuilt:
    """Build the networks of a bundle and give them its weights.

    Raises
    ------
    DependencyError
        torch or captum is not installed.
    BundleError
        The weights do not fit the network.
    """
    require_captum()
    networks = bundle.networks()
    for network in networks:
        for layer in network.modules():
            if not any(layer.children()) and next(layer.parameters(recurse=False), None) is None:
                layer.register_forward_pre_hook(_own_tensor)
        network.requires_grad_(requires_grad=True)
    return Rebuilt(networks, question)


@dataclass(frozen=True, eq=False)
class Door:
    """The layer by which an input enters, and whether its channels come before its positions there."""

    layer: Any
    channels_first: bool


def doors_of(network: Any, item: Item) -> dict[str, Door]:
    """The first layer with weights that each input enters whole.

    An input that several layers could have taken, or that is joined with others on its way, has none.
    """
    seen: list[tuple[Any, tuple[int, ...]]] = []

    def note(layer: Any, arguments: tuple[Any, ...]) -> None:
        # what depends on a weight has already gone through another layer
        if arguments and hasattr(arguments[0], "shape") and not arguments[0].requires_grad:
            seen.append((layer, tuple(arguments[0].shape[1:])))

    weighted = [one for one in network.modules() if next(one.parameters(recurse=False), None) is not None]
    with _hooks((layer, note) for layer in weighted):
        network(**tensors({name: array[None] for name, array in item.inputs.items()}))
    doors: dict[str, Door] = {}
    for name, array in item.inputs.items():
        fitting = [(layer, shape) for layer, shape in seen if shape in _layouts(array)]
        rivals = [one for one in item.inputs.values() if _layouts(one) & _layouts(array)]
        if len(fitting) == 1 and len(rivals) == 1:
            doors[name] = Door(fitting[0][0], fitting[0][1] != array.shape)
    return doors


def entered(network: Any, arrays: Arrays, doors: dict[str, Door]) -> Arrays:
    """What (n, ...) inputs have become at their doors, channels last; one without a door is as it was."""
    import torch

    caught: Arrays = {}

    def catcher(name: str, door: Door) -> Callable[[Any, tuple[Any, ...]], None]:
        def catch(_layer: Any, arguments: tuple[Any, ...]) -> None:
            tensor = arguments[0].movedim(1, -1) if door.channels_first else arguments[0]
            caught[name] = tensor.detach().contiguous().numpy()

        return catch

    with torch.no_grad(), _hooks((door.layer, catcher(name, door)) for name, door in doors.items()):
        network(**tensors(arrays))
    return {name: caught.get(name, array) for name, array in arrays.items()}


def scalar(model: Rebuilt, network: Any, item: Item, doors: dict[str, Door]) -> Any:
    """The network as a module from tensors, in the order of the item's inputs, to the explained number.

    A tensor whose input has a door is put in there, past the normalisation. Activations that the
    network calls as functions become modules, which DeepLIFT needs to see.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    modular = {type(one).__name__ for one in network.modules()}

    class Scalar(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.activations = torch.nn.ModuleList()

        def forward(self, *given: Any) -> Any:
            n = len(given[0])
            model.evaluations += n
            whole = dict(zip(item.inputs, given, strict=True))
            puts = [(door.layer, _put(whole[name], door)) for name, door in doors.items()]
            for name in doors:  # anything else that the network makes of this input is the item's
                whole[name] = torch.from_numpy(item.inputs[name]).expand(n, *item.inputs[name].shape)
            with _hooks(puts), Modular(self.activations):
                return model.score(self.network(**whole))

    class Modular(TorchFunctionMode):
        def __init__(self, made: Any) -> None:
            super().__init__()
            self.made, self.next = made, 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kind = _ACTIVATIONS.get(getattr(func, "__name__", ""))
            if kind is None or kind in modular:
                return func(*args, **(kwargs or {}))
            if self.next == len(self.made):
                self.made.append(getattr(torch.nn, kind)())
            self.next += 1
            return self.made[self.next - 1](args[0].clone())

    whole = Scalar().eval()
    with torch.no_grad():  # once, so that the modules are there before anyone looks for them
        whole(*tensors({name: array[None] for name, array in item.inputs.items()}).values())
    return whole


def tensors(arrays: Arrays) -> dict[str, Any]:
    """The arrays as tensors of their own."""
    import torch

    return {name: torch.from_numpy(np.array(one, np.float32)) for name, one in arrays.items()}


def _own_tensor(_layer: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same numbers in a tensor of the layer's own.

    captum reads what comes back to an activation from its output, and replaces what comes back to
    a pooling at its input: where the two are one tensor it reads too early, and DeepLIFT's values
    do not add up.
    """
    if arguments and hasattr(arguments[0], "clone"):
        return (arguments[0].clone(), *arguments[1:])
    return arguments


def _put(tensor: Any, door: Door) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
    def put(_layer: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (tensor.movedim(-1, 1) if door.channels_first else tensor, *arguments[1:])

    return put


def _layouts(array: NDArray[np.float32]) -> set[tuple[int, ...]]:
    """Shapes of the array with its channels last and first."""
    return {array.shape, (array.shape[-1], *array.shape[:-1])}


@contextmanager
def _hooks(wanted: Iterable[tuple[Any, Callable[..., Any]]]) -> Iterator[None]:
    """Functions that are called before their layers, for the time of the block."""
    handles = [layer.register_forward_pre_hook(hook) for layer, hook in wanted]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
