"""Explanations beside those of the library shap, for a dense network."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from astrid.learn.explanation import explain
from astrid.learn.prediction import Predictor

shap, torch = pytest.importorskip("shap"), pytest.importorskip("torch")
pytestmark = pytest.mark.slow  # shap compiles before it computes

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(10, 6)).astype(np.float32)
ITEM = 2 * RNG.normal(size=6).astype(np.float32)


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        models = importlib.import_module("explanation_models")
        yield models.dense_bundle(tmp_path_factory.mktemp("dense") / "b")


def test_exact_shapley_values_agree_with_shap(dense):
    predictor = Predictor(dense)

    def logit(x):
        return predictor.logits({"x": np.asarray(x, np.float32)})["real"][0, :, 0]

    masker = shap.maskers.Independent(ROWS, max_samples=len(ROWS))
    expected = shap.explainers.Exact(logit, masker)(ITEM[None]).values[0]
    found = explain(dense, {"x": ITEM}, background={"x": ROWS}, sanity=False)
    assert found.method == "shapley_exact"
    np.testing.assert_allclose(found.values["x"], expected, atol=1e-5)


def test_deeplift_values_agree_with_shap(dense):
    network = dense.task.build_network().eval()
    network.load_state_dict({name: torch.from_numpy(np.array(one)) for name, one in dense.weights.items()})

    class Logit(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x=x)["real"]

    explainer = shap.DeepExplainer(Logit(), torch.from_numpy(ROWS))
    # its own check of additivity warns with numpy 2
    expected = explainer.shap_values(torch.from_numpy(ITEM[None]), check_additivity=False)
    found = explain(dense, {"x": ITEM}, method="deeplift_shap", background={"x": ROWS}, sanity=False)
    np.testing.assert_allclose(found.values["x"], np.ravel(expected), atol=1e-5)
    assert abs(found.completeness_error) < 1e-5
