"""Published Keras weights: production's own scores, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from astrid.alerts import Alert, missing_pixels, raw_triplet, read_alerts
from astrid.errors import BundleError, UsageError
from astrid.files.record import sha256
from astrid.learn.bundle import Bundle
from astrid.learn.keras import import_keras, read_keras
from astrid.learn.prediction import Predictor
from astrid.zoo.braai import BRAAI

LAYERS = {
    "conv1": (3, 3, 3, 16), "conv2": (3, 3, 16, 16), "conv3": (3, 3, 16, 32), "conv4": (3, 3, 32, 32),
    "fc_1": (1152, 256), "fc_out": (256, 1),
}  # fmt: skip
PUBLISHED = "dmitryduev/braai at 9fb2259542ec4b0a7dfa485012a23dc15a3f4ce8"
NAN_HEAVY = {595147624915010001, 595215531715010003}  # production fills these otherwise, nobody knows how


def write_h5(path: Path, layers: dict[str, tuple[int, ...]], *, whole: bool = False) -> Path:
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        if whole:
            file.attrs["model_config"] = "{}"
        names = [name for layer in layers for name in (layer, f"drop_{layer}")]
        root.attrs["layer_names"] = np.array([name.encode() for name in names])
        for name in names:
            group = root.create_group(name)
            if name not in layers:  # layers without weights, as Keras writes them
                group.attrs["weight_names"] = np.zeros(0)
                continue
            group.attrs["weight_names"] = np.array(
                [f"{name}/{part}:0".encode() for part in ("kernel", "bias")]
            )
            shape = layers[name]
            group[f"{name}/kernel:0"] = rng.normal(0, 0.1, shape).astype(np.float32)
            group[f"{name}/bias:0"] = rng.normal(0, 0.1, shape[-1]).astype(np.float32)
    return path


def imported(path: Path, out: Path, **options: str) -> Bundle:
    return import_keras(path, BRAAI, out, "braai.theirs", origin="nobody", licence="MIT", **options)


@pytest.fixture(scope="module")
def alerts(real_data: Path) -> list[Alert]:
    """The real packets."""
    return list(read_alerts([real_data / "alerts" / "ztf_alerts_dev.tar.gz"]))


@pytest.fixture(scope="module")
def d6_m7(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    file = real_data / "images" / "braai" / "d6_m7.weights.h5"
    out = tmp_path_factory.mktemp("bundles") / "braai.d6m7"
    return Predictor(
        import_keras(
            file, BRAAI, out, "braai.d6m7", normalization="row_l2", origin=PUBLISHED, licence="MIT",
            command="as in the test",
        )
    )  # fmt: skip


def score(predictor: Predictor, alerts: list[Alert]) -> np.ndarray:
    stamps = np.stack([raw_triplet(alert) for alert in alerts])
    return predictor.probabilities({"triplet": stamps})["real"][:, 0]


@pytest.mark.real_data
def test_the_production_score_of_real_packets_is_reproduced(alerts: list[Alert], d6_m7: Predictor) -> None:
    judged = [
        alert for alert in alerts
        if alert.extras["candidate"].get("drbversion") == "d6_m7" and int(alert.alert_id) not in NAN_HEAVY
    ]  # fmt: skip
    assert len(judged) == 23
    production = np.array([record.extras["candidate"]["drb"] for record in judged])
    assert production.min() < 0.01
    assert production.max() > 0.99
    np.testing.assert_allclose(score(d6_m7, judged), production, atol=1e-6, rtol=0)


@pytest.mark.real_data
@pytest.mark.parametrize("file", ["fink_ztf_alerts_51.parquet", "fink_ztf_labelled_72.parquet"])
def test_the_production_score_of_packets_of_a_broker_is_reproduced(
    real_data: Path, d6_m7: Predictor, file: str
) -> None:
    records = list(read_alerts([real_data / "alerts" / file]))
    production = np.array([record.extras["candidate"]["drb"] for record in records])
    assert {record.extras["candidate"]["drbversion"] for record in records} == {"d6_m7"}
    assert max(max(missing_pixels(record).values()) for record in records) > 1000  # and these too
    np.testing.assert_allclose(score(d6_m7, records), production, atol=1e-6, rtol=0)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "normalization", "column"),
    [
        ("d6_m7.weights.h5", "row_l2", "d6_m7_rownorm"),
        ("braai_d6_m9.weights.h5", "cutout_l2", "d6_m9_globalnorm"),
    ],
)
def test_the_published_networks_give_the_expected_table(
    real_data: Path, tmp_path: Path, alerts: list[Alert], file: str, normalization: str, column: str
) -> None:
    folder = real_data / "images" / "braai"
    bundle = imported(folder / file, tmp_path / "b", normalization=normalization)
    with (folder / "expected_scores_on_alerts_dev.csv").open() as table:
        expected = {Path(row["packet"]).name: float(row[column]) for row in csv.DictReader(table)}
    by_name = {f"{alert.alert_id}.avro": alert for alert in alerts}
    assert len(expected) == 49
    found = score(Predictor(bundle), [by_name[name] for name in expected])
    # the table has six decimals
    np.testing.assert_allclose(found, list(expected.values()), atol=1.5e-6, rtol=0)


@pytest.mark.real_data
def test_the_wrong_normalization_is_far_off(real_data: Path, tmp_path: Path, alerts: list[Alert]) -> None:
    file = real_data / "images" / "braai" / "d6_m7.weights.h5"
    bundle = imported(file, tmp_path / "b", normalization="cutout_l2")
    judged = [record for record in alerts if record.extras["candidate"].get("drbversion") == "d6_m7"]
    production = np.array([record.extras["candidate"]["drb"] for record in judged])
    assert np.abs(score(Predictor(bundle), judged) - production).max() > 0.1


@pytest.mark.real_data
def test_missing_rows_of_zeros_count_as_production_pads_them(
    real_data: Path, tmp_path: Path, alerts: list[Alert], d6_m7: Predictor
) -> None:
    clipped = np.stack([raw_triplet(alert) for alert in alerts])
    clipped[:, 51:] = clipped[:, :, 60:] = 0
    inside = clipped[:, :51, :60]
    divided = inside / np.linalg.norm(inside, axis=2, keepdims=True)
    # the published order: each row is divided by its norm, then rows and columns of 1e-9 are added
    padded = np.full_like(clipped, 1e-9)
    padded[:, :51, :60] = np.nan_to_num(divided)
    file = real_data / "images" / "braai" / "d6_m7.weights.h5"
    as_given = Predictor(imported(file, tmp_path / "b", normalization="none"))
    expected = as_given.probabilities({"triplet": padded})["real"]
    np.testing.assert_allclose(d6_m7.probabilities({"triplet": clipped})["real"], expected, atol=1e-6)


@pytest.mark.real_data
def test_the_card_names_origin_licence_and_file(real_data: Path, d6_m7: Predictor) -> None:
    card = d6_m7.bundle.card
    digest = sha256(real_data / "images" / "braai" / "d6_m7.weights.h5")
    assert card.origin == f"{PUBLISHED}; imported from d6_m7.weights.h5, SHA-256 {digest}"
    assert (card.licence, card.command) == ("MIT", "as in the test")
    assert card.task.network_options["normalization"] == "row_l2"
    assert card.parity is not None
    assert card.parity < 1e-6
    assert card.training is None


@pytest.mark.parametrize("whole", [False, True])
def test_weights_alone_and_whole_models_are_read_alike(tmp_path: Path, whole: bool) -> None:
    layers = read_keras(write_h5(tmp_path / "w.h5", LAYERS, whole=whole))
    assert {name: arrays["kernel"].shape for name, arrays in layers.items()} == LAYERS
    assert list(layers) == list(LAYERS)


def test_a_network_is_computed_as_keras_would(tmp_path: Path) -> None:
    file = write_h5(tmp_path / "w.h5", LAYERS)
    bundle = imported(file, tmp_path / "b", normalization="none")
    x = np.random.default_rng(1).normal(0, 1, (2, 63, 63, 3)).astype(np.float32)
    found = Predictor(bundle).logits({"triplet": x})["real"][0]
    np.testing.assert_allclose(found, by_hand(read_keras(file), x), rtol=1e-4, atol=1e-4)


def by_hand(layers: dict[str, dict[str, np.ndarray]], x: np.ndarray) -> np.ndarray:
    """The published stack of layers in numpy, channels last throughout."""

    def convolve(x: np.ndarray, name: str) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
        y = np.einsum("nyxcij,ijck->nyxk", windows, layers[name]["kernel"], optimize=True)
        return np.maximum(y + layers[name]["bias"], 0)

    def pool(x: np.ndarray, size: int) -> np.ndarray:
        n, ny, nx, c = x.shape
        x = x[:, : ny // size * size, : nx // size * size]
        return x.reshape(n, ny // size, size, nx // size, size, c).max(axis=(2, 4))

    x = pool(convolve(convolve(x, "conv1"), "conv2"), 2)
    x = pool(convolve(convolve(x, "conv3"), "conv4"), 4).reshape(len(x), -1)
    x = np.maximum(x @ layers["fc_1"]["kernel"] + layers["fc_1"]["bias"], 0)
    return x @ layers["fc_out"]["kernel"] + layers["fc_out"]["bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv2": (5, 5, 16, 16)}, r"conv2 has a kernel of shape \(5, 5, 16, 16\), expected \(3, 3, 16"),
        ({"fc_out": (256, 2)}, r"fc_out has a kernel of shape \(256, 2\), expected \(256, 1\) as heads.real"),
        ({"fc_2": (1, 1)}, r"has 7 layers with weights \(conv1, .*fc_2\), .*VGG6 has 6 \(conv1, "),
    ],
)  # fmt: skip
def test_layers_of_another_network_are_refused(
    tmp_path: Path, change: dict[str, tuple[int, ...]], message: str
) -> None:
    file = write_h5(tmp_path / "w.h5", LAYERS | change)
    with pytest.raises(BundleError, match=message) as caught:
        imported(file, tmp_path / "b")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_a_layer_with_other_weights_is_refused(tmp_path: Path) -> None:
    file = write_h5(tmp_path / "w.h5", LAYERS)
    with h5py.File(file, "a") as content:
        content["conv3"].attrs["weight_names"] = np.array([b"conv3/kernel:0"])
    with pytest.raises(BundleError, match="layer conv3 has kernel, expected kernel and bias as conv3 has"):
        imported(file, tmp_path / "b")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    file = write_h5(tmp_path / "w.h5", LAYERS)
    with h5py.File(file, "a") as content:
        content["conv3/conv3/bias:0"][3] = np.nan
    with pytest.raises(BundleError, match="layer conv3 has a bias with numbers that are not finite"):
        imported(file, tmp_path / "b")


@pytest.mark.parametrize("size", [0, 100, 2000, 200_000])
def test_a_damaged_file_is_refused(tmp_path: Path, size: int) -> None:
    file = write_h5(tmp_path / "w.h5", LAYERS)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(BundleError, match="cannot be read as Keras weights") as caught:
        imported(file, tmp_path / "b")
    assert "\n" not in str(caught.value)


def test_a_foreign_file_an_absent_one_and_a_foreign_name_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as content:
        content["table"] = np.zeros(3)
    with pytest.raises(BundleError, match="has no list of layers"):
        imported(tmp_path / "other.h5", tmp_path / "b")
    with pytest.raises(BundleError, match="there is no such file"):
        imported(tmp_path / "none.h5", tmp_path / "b")
    with pytest.raises(UsageError, match=r"does not fit task braai; call it braai\.<tag>"):
        import_keras(tmp_path / "none.h5", BRAAI, tmp_path / "b", "acai.h", origin="", licence="")
