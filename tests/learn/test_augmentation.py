"""Claims of `learn.augmentation`: the eight symmetries, alike for all of an item's images and maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from astrid.errors import UsageError
from astrid.learn.augmentation import augmentation, dihedral, mirror

SYMMETRIES = [
    lambda a, k=k, f=f: np.rot90(a[:, ::-1] if f else a, k) for k in range(4) for f in (False, True)
]


def drawn(n: int, seed: int = 0, shape: tuple[int, ...] = (4, 4, 2)):
    """n copies of one image without symmetry, augmented."""
    image = torch.arange(float(np.prod(shape))).reshape(shape)
    images, _ = dihedral({"image": image.repeat(n, 1, 1, 1)}, {}, torch.Generator().manual_seed(seed))
    return image.numpy(), images["image"].numpy()


def test_each_of_the_eight_symmetries_is_drawn_alike_often_and_no_other():
    image, images = drawn(4000)
    counts = np.array([sum(np.array_equal(turn(image), one) for one in images) for turn in SYMMETRIES])
    assert counts.sum() == 4000
    assert abs(counts - 500).max() < 5 * np.sqrt(500)


def test_image_that_is_not_square_keeps_its_shape_and_has_four_symmetries():
    image, images = drawn(400, shape=(3, 5, 1))
    allowed = [image, image[::-1], image[:, ::-1], image[::-1, ::-1]]
    counts = [sum(np.array_equal(one, turned) for one in images) for turned in allowed]
    assert sum(counts) == 400
    assert min(counts) > 50


def test_images_and_wanted_maps_of_an_item_turn_alike_and_everything_else_stays():
    rng = np.random.default_rng(0)
    maps = torch.from_numpy(rng.normal(size=(64, 6, 6)).astype(np.float32))
    inputs = {
        "image": maps[..., None].clone(),
        "other": maps[..., None].repeat(1, 1, 1, 3),
        "facts": maps[:, 0],
    }
    labels = torch.arange(64.0)
    out, targets = dihedral(
        {**inputs}, {"where": maps.clone(), "real": labels}, torch.Generator().manual_seed(1)
    )
    assert torch.equal(out["image"][..., 0], targets["where"])
    assert torch.equal(out["other"][..., 2], targets["where"])
    assert not torch.equal(targets["where"], maps)
    assert torch.equal(out["facts"], maps[:, 0])
    assert torch.equal(targets["real"], labels)


def test_draws_follow_from_the_generator():
    assert np.array_equal(drawn(50, seed=3)[1], drawn(50, seed=3)[1])
    assert not np.array_equal(drawn(50, seed=3)[1], drawn(50, seed=4)[1])


def test_augmentation_is_found_by_name():
    assert augmentation("none") is None
    assert augmentation("dihedral") is dihedral
    assert augmentation("astrid.learn.augmentation:dihedral") is dihedral
    with pytest.raises(UsageError, match="no augmentation 'shear'; choose none, dihedral, mirror or"):
        augmentation("shear")


def test_mirrored_curves_of_an_item_run_backwards_together():
    generator = torch.Generator().manual_seed(0)
    long = torch.arange(40.0).reshape(4, 5, 2) + torch.zeros(8, 4, 5, 2)
    inputs = {
        "long": long.reshape(32, 5, 2),
        "short": long.reshape(32, 5, 2)[:, :3].clone(),
        "n": torch.ones(32, 3),
    }
    before = {name: one.clone() for name, one in inputs.items()}
    after, _ = mirror(inputs, {}, generator)
    turned = (after["long"] != before["long"]).flatten(1).any(1)
    assert 8 < turned.sum() < 24
    for name in ("long", "short"):
        torch.testing.assert_close(after[name][turned], before[name][turned].flip(1))
        torch.testing.assert_close(after[name][~turned], before[name][~turned])
    torch.testing.assert_close(after["n"], before["n"])
