"""The published architecture, counted and compared with a plain one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from astrid.errors import UsageError
from astrid.networks.vgg import VGG6

TRIPLET = {"triplet": (63, 63, 3)}


def test_it_has_the_published_number_of_parameters() -> None:
    network = VGG6(TRIPLET, {"real": 1})
    assert sum(one.numel() for one in network.parameters()) == 312_081


def test_it_is_the_published_stack_of_layers() -> None:
    torch.manual_seed(0)
    network = VGG6(TRIPLET, {"real": 1}, normalization="none").eval()
    plain = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Dropout(0.25),
    ).eval()  # fmt: skip
    ours = [network.conv1, network.conv2, network.conv3, network.conv4]
    for layer, other in zip([one for one in plain if isinstance(one, nn.Conv2d)], ours, strict=True):
        layer.load_state_dict(other.state_dict())
    x = torch.randn(3, 63, 63, 3)
    features = plain(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).reshape(3, -1)  # rows, columns, channels
    expected = network.heads["real_out"](network.dense(features).relu())
    torch.testing.assert_close(network(triplet=x)["real"], expected)


def test_heads_share_the_trunk_and_are_named_as_asked() -> None:
    network = VGG6(TRIPLET, {"real": 1, "type": 4}, width=8).eval()
    x = torch.randn(2, 63, 63, 3)
    outputs = network(triplet=x)
    assert {name: tuple(one.shape) for name, one in outputs.items()} == {"real": (2, 1), "type": (2, 4)}
    torch.testing.assert_close(network.heads["type_out"](network.embed(triplet=x)), outputs["type"])
    assert all(
        name.startswith(network.head_names) == ("_out" in name) for name, _ in network.named_parameters()
    )
    assert isinstance(network.get_submodule(network.gradcam_layer), nn.Conv2d)


def test_it_takes_larger_images_of_one_channel() -> None:
    network = VGG6({"streak": (144, 144, 1)}, {"rb": 1}, normalization="cutout_l2").eval()
    assert network(streak=torch.rand(2, 144, 144, 1))["rb"].shape == (2, 1)


def test_every_parameter_learns() -> None:
    network = VGG6(TRIPLET, {"real": 1}, normalization="asinh_noise")
    network(triplet=torch.randn(4, 63, 63, 3))["real"].sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in network.parameters())


@pytest.mark.parametrize("inputs", [{"a": (63, 63, 3), "b": (63, 63, 3)}, {"a": (10,)}, {}])
def test_anything_but_one_image_is_refused(inputs: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(UsageError, match="VGG6 takes one image"):
        VGG6(inputs, {"real": 1})


def test_a_small_image_is_refused_and_the_smallest_is_not() -> None:
    VGG6({"a": (20, 20, 1)}, {"real": 1})
    with pytest.raises(UsageError, match="at least 20 by 20"):
        VGG6({"a": (19, 63, 1)}, {"real": 1})
