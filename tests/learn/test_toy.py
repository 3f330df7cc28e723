"""The toy that other tests lean on is what it claims to be."""

from __future__ import annotations

import numpy as np

from astrid.learn.prediction import Predictor


def test_toy_network_in_torch_gives_what_its_bundle_gives(toy_task, toy_bundle, toy_dataset):
    import torch

    network = toy_task.build_network().eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in toy_bundle.weights.items()})
    images = toy_dataset.take("image", np.arange(50))
    with torch.no_grad():
        logits = network(image=torch.from_numpy(images))["real"].numpy()
    np.testing.assert_allclose(Predictor(toy_bundle).logits({"image": images})["real"][0], logits, atol=1e-4)


def test_toy_bundle_tells_most_stars_from_most_bogus(toy_bundle, toy_ensemble, toy_dataset):
    truth = toy_dataset.column("real")
    for bundle in (toy_bundle, toy_ensemble):
        images = toy_dataset.take("image", np.arange(len(toy_dataset)))
        found = Predictor(bundle)({"image": images}).heads["real"]
        assert 0.8 < ((found.values[:, 0] > 0.5) == (truth == "real")).mean() < 0.97
        assert np.isfinite(found.spread).all() == (bundle is toy_ensemble)
