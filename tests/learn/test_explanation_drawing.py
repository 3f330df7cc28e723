"""Figures of explanations: every kind of input is drawn, with what was found about it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from astrid.learn.explanation import Explanation, Response, explain


def explanation(inputs, positions, features, values, **changes):
    """An explanation of random inputs; `values` are arrays, or shapes of random ones."""
    rng = np.random.default_rng(0)
    facts = {
        "method": "occlusion", "head": "real", "target": "real", "of": "logit",
        "inputs": {name: rng.normal(size=shape).astype(np.float32) for name, shape in inputs.items()},
        "positions": positions, "features": features,
        "values": {
            name: rng.normal(size=one) if isinstance(one, tuple) else one for name, one in values.items()
        },
        "prediction": 2.0, "probability": 0.88, "base_value": None, "completeness_error": None, "sanity": 0.1,
        "n_evals": 10, "seconds": 0.1, "seed": 0, "replaced_by": "zeros for x", "notes": (),
        "response": None, "bundle": "toy.v1", "hash": "0" * 64,
    }  # fmt: skip
    return Explanation(**{**facts, **changes})


def drawn(found: Explanation) -> Figure:
    figure = found.plot()
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def texts(figure: Figure) -> str:
    said = [text.get_text() for part in figure.subfigs for text in part.texts]
    for axis in figure.axes:
        said += [axis.get_title(), axis.get_title("left"), axis.get_xlabel(), axis.get_ylabel()]
        said += [label.get_text() for label in (*axis.get_xticklabels(), *axis.get_yticklabels())]
        said += [text.get_text() for text in axis.texts]
    return "\n".join(said)


CHANNELS = ("science", "reference", "difference")


@pytest.mark.parametrize(
    ("shape", "values", "names", "panels"),
    [
        ((9, 9, 3), (9, 9, 3), CHANNELS, 3 + 3 + 1),  # images, maps, a colour bar
        ((9, 9, 3), (9, 9, 1), CHANNELS, 3 + 1 + 1),
        ((9, 9, 3), (1, 1, 3), CHANNELS, 3 + 1),
        ((9, 20), (9, 20), ("image",), 1 + 1 + 1),
        ((9, 9, 12), (9, 9, 12), tuple(f"band {k}" for k in range(12)), 4 + 4 + 1),
        ((9, 9, 12), (9, 9, 1), tuple(f"band {k}" for k in range(12)), 4 + 1 + 1),
    ],
)
def test_images_stand_beside_their_attributions(shape, values, names, panels):
    figure = drawn(explanation({"image": shape}, {"image": 2}, {"image": names}, {"image": values}))
    assert len(figure.axes) == panels
    limits = [
        image.get_clim() for axis in figure.axes for image in axis.images if image.get_cmap().name == "RdBu_r"
    ]
    assert all(low == -high for low, high in limits)  # white is nothing
    assert len(set(limits)) <= 1  # the maps of one input can be compared


@pytest.mark.parametrize("values", [(50, 2), (50, 1), (1, 2)])
def test_series_stand_above_their_attributions(values):
    figure = drawn(explanation({"curve": (50, 2)}, {"curve": 1}, {"curve": ("g", "r")}, {"curve": values}))
    assert len(figure.axes[0].lines) == 2
    assert len(figure.axes) == (2 if values == (1, 2) else 3)


def test_a_series_without_channels_is_drawn():
    drawn(explanation({"flux": (200,)}, {"flux": 1}, {"flux": ("flux",)}, {"flux": (200,)}))


def test_features_that_add_up_are_steps_from_the_base_value_to_the_prediction():
    values = np.array([1.0, -0.5, 2.5])
    found = explanation(
        {"x": (3,)}, {"x": 0}, {"x": ("mass", "distance", "rate")}, {"x": values},
        base_value=-1.0, completeness_error=0.0, method="shapley_exact",
    )  # fmt: skip
    figure = drawn(found)
    (axis,) = figure.axes
    bars = sorted(axis.patches, key=lambda bar: bar.get_y())
    steps = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    np.testing.assert_allclose(steps, [(-1, -1.5), (-1.5, -0.5), (-0.5, 2)])  # the smallest comes first
    said = texts(figure)
    assert "rate = " in said
    assert "completeness error 0" in said


def test_of_many_features_the_largest_are_drawn_and_the_others_summed():
    names = tuple(f"f{k}" for k in range(40))
    values = np.zeros(40)
    values[7] = 5.0
    found = explanation({"x": (40,)}, {"x": 0}, {"x": names}, {"x": values})
    figure = drawn(found)
    said = texts(figure)
    assert "f7 = " in said
    assert "24 others" in said


def test_curves_of_a_perturbation_are_drawn_and_rounding_does_not_look_like_a_curve():
    factors = 2.0 ** np.linspace(-2, 2, 9)
    scores = np.stack([np.full(9, 0.9), 0.9 + 1e-8 * factors])
    found = explanation(
        {"x": (2,)}, {"x": 0}, {"x": ("a", "b")}, {"x": (2,)}, method="perturbation", of="probability",
        prediction=0.9, response=Response(("a", "b"), factors, scores),
    )  # fmt: skip
    (axis,) = drawn(found).axes
    assert len(axis.lines) == 2 + 2
    low, high = axis.get_ylim()
    assert high - low > 0.01


def test_several_inputs_are_drawn_one_below_the_other():
    found = explanation(
        {"image": (9, 9, 2), "facts": (4,)}, {"image": 2, "facts": 0},
        {"image": ("reference", "difference"), "facts": tuple("abcd")}, {"image": (9, 9, 2), "facts": (4,)},
    )  # fmt: skip
    figure = drawn(found)
    assert len(figure.axes) == 5 + 1
    assert len(figure.subfigs) == 3


def test_the_figure_says_what_was_asked_and_what_the_answer_is_worth(toy_bundle, toy_dataset):
    item = {"image": toy_dataset.take("image", np.array([0]))[0]}
    found = explain(toy_bundle, item, method="occlusion")
    said = texts(drawn(found))
    assert "toy.test: what speaks for real, by occlusion" in said
    assert f"likeness to random weights {found.sanity:.2f} (low is good)" in said
    assert f"{found.n_evals} evaluations" in said
    assert "hidden parts replaced by the median of each channel of image" in said
    assert "difference" in said


def test_values_of_zero_are_drawn_white():
    found = explanation(
        {"image": (9, 9, 1)}, {"image": 2}, {"image": ("image",)}, {"image": np.zeros((9, 9, 1))}
    )
    assert drawn(found).axes
