"""What models say of what is sent is what they say of the same at home."""

from __future__ import annotations

import gzip
import io

import fastavro
import numpy as np
import pytest

from astrid.alerts import centred_triplet
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle
from astrid.service.decoding import alerts_of

URL = "/api/v1/classify"


def triplets(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 63, 63, 3)).astype(np.float32)


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(find_bundle("braai.sim1"))


def values(body, model="braai.sim1", head="real"):
    return [item["scores"][model]["heads"][head]["values"][head] for item in body["items"]]


def test_triplets_in_both_forms_are_scored_as_by_the_predictor(client, predictor):
    stack = triplets(70)
    wanted = predictor({"triplet": stack}, spread=False).heads["real"]
    whole = client.post(f"{URL}/triplets", content=npz(triplet=stack)).json()
    planes = dict(zip(("science", "reference", "difference"), np.moveaxis(stack, -1, 0), strict=True))
    apart = client.post(f"{URL}/triplets", content=npz(**planes, id=np.arange(100, 170))).json()
    for body in (whole, apart):
        assert values(body) == pytest.approx(wanted.values[:, 0].tolist(), abs=1e-6)
        decisions = [item["scores"]["braai.sim1"]["heads"]["real"]["decision"] for item in body["items"]]
        assert decisions == wanted.decision.tolist()
    assert [item["name"] for item in apart["items"]] == [str(k) for k in range(100, 170)]
    assert whole["models"] == {"braai.sim1": predictor.bundle.hash}


def test_the_spread_is_told_when_it_is_asked_for(client, predictor):
    stack = triplets(1)
    ours = predictor({"triplet": stack}).heads["real"].spread[0, 0]
    body = client.post(f"{URL}/triplets?dropout=true", content=npz(triplet=stack)).json()
    assert body["items"][0]["scores"]["braai.sim1"]["heads"]["real"]["spread"]["real"] == pytest.approx(
        ours, abs=1e-6
    )


def test_one_that_is_not_finite_has_its_problem_and_the_others_their_scores(client):
    stack = triplets(3)
    stack[1, 5, 5, 0] = np.nan
    items = client.post(f"{URL}/triplets", content=npz(triplet=stack)).json()["items"]
    assert [item["problem"] is None for item in items] == [True, False, True]
    assert [bool(item["scores"]) for item in items] == [True, False, True]


@pytest.mark.parametrize(
    ("arrays", "query", "status"),
    [
        ({"triplet": np.zeros((1, 31, 31, 3))}, "", 422), ({"triplet": np.zeros(())}, "", 422),
        ({"science": np.zeros((1, 63, 63))}, "", 422),
        ({"triplet": np.zeros((1, 63, 63, 3))}, "?model=none", 404),
        ({"triplet": np.zeros((1, 63, 63, 3))}, "?model=dmdt.crts1", 422),
        ({"triplet": np.zeros((0, 63, 63, 3))}, "", 200),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(client, arrays, query, status):
    answer = client.post(f"{URL}/triplets{query}", content=npz(**arrays))
    assert answer.status_code == status, answer.text


def test_packets_one_or_many_are_scored_as_by_the_predictor(client, samples, predictor):
    packets = [samples.packet(number, size=63) for number in range(40)]
    alerts = [alert for packet in packets for _, alert in alerts_of(packet)]
    wanted = predictor({"triplet": np.stack([centred_triplet(alert) for alert in alerts])}, spread=False)
    records = [record for packet in packets for record in fastavro.reader(io.BytesIO(packet))]
    stream = io.BytesIO()
    fastavro.writer(stream, samples.SCHEMA, records, codec="deflate")
    body = client.post(f"{URL}/packets", content=stream.getvalue()).json()
    assert values(body) == pytest.approx(wanted.heads["real"].values[:, 0].tolist(), abs=1e-6)
    assert [item["alert_id"] for item in body["items"]] == [str(number) for number in range(40)]
    one = client.post(f"{URL}/packets?model=braai.sim1&model=braai.real1", content=packets[7]).json()
    assert values(one) == values(body)[7:8]
    assert set(one["items"][0]["scores"]) == {"braai.sim1", "braai.real1"}


def test_a_packet_without_images_and_one_that_is_none_have_their_reasons(client, samples):
    body = client.post(f"{URL}/packets", content=samples.packet(1, images=False)).json()
    assert body["items"][0]["alert_id"] == "1"
    assert "cutout" in body["items"][0]["problem"]
    body = client.post(f"{URL}/packets", content=b"nonsense").json()
    assert "expected an Avro file" in body["items"][0]["problem"]
    assert client.post(f"{URL}/packets", content=b"").status_code == 422


def sine(n: int = 150, period: float = 0.61) -> dict[str, list[float]]:
    rng = np.random.default_rng(1)
    time = np.sort(rng.uniform(55000, 56000, n))
    mag = 15 + 0.3 * np.sin(2 * np.pi * time / period) + rng.normal(0, 0.02, n)
    return {"mjd": time.tolist(), "mag": mag.tolist(), "magerr": [0.02] * n}


def test_light_curves_are_classified_as_by_the_library_many_at_a_time(client, tmp_path):
    from astrid.lightcurves.lightcurve import LightCurve
    from astrid.survey.curve_measures import Measures, measure, prepared

    made = {"a": sine(80), "b": sine(60, 1.7)}
    rows = [
        f"{name},{time},{mag},{error}"
        for name, one in made.items()
        for time, mag, error in zip(*one.values(), strict=True)
    ]
    text = "\n".join(["source_id,mjd,mag,magerr", *rows, "c,58000,nan,0.1"])
    body = client.post(
        f"{URL}/lightcurves", content=gzip.compress(text.encode()), headers={"Content-Type": "text/csv"}
    ).json()
    curves = [
        prepared(
            LightCurve(
                np.array(one["mjd"]), np.array(one["mag"]), np.array(one["magerr"]), unit="mag", name=name
            )
        )
        for name, one in made.items()
    ]
    table, _ = measure(curves, Measures(features=False, models=("dmdt.crts1",)))
    ours = table["dmdt_crts1_RRab"].to_pylist()
    items = {item["name"]: item for item in body["items"]}
    said = [items[name]["scores"]["dmdt.crts1"]["heads"]["variable"]["values"]["RRab"] for name in "ab"]
    assert said == pytest.approx(ours, abs=1e-6)
    assert items["c"]["problem"]
    assert not items["c"]["scores"]


def test_a_period_is_searched_for_in_a_process_of_its_own(client):
    body = client.post(f"{URL}/lightcurves?model=crts_trees.crts1", json=sine()).json()
    (item,) = body["items"]
    assert item["period"] / 0.61 == pytest.approx(round(item["period"] / 0.61), rel=1e-3)
    assert item["scores"]["crts_trees.crts1"]["heads"]["variable"]["decision"].startswith("RR")
    many = {
        "source_id": [f"s{k}" for k in range(30) for _ in range(3)],
        "mjd": list(range(58000, 58090)),
        "mag": [15.0] * 90,
    }
    assert client.post(f"{URL}/lightcurves?model=crts_trees.crts1", json=many).status_code == 413


@pytest.mark.parametrize(
    ("query", "kind", "content", "status"),
    [
        ("", "text/plain", b"a", 415), ("", "application/json", b"{", 400), ("", "application/json",
        b"[1]", 422),
        ("", "text/csv", b"a,b\n1,2", 422), ("?column=mag", "text/csv", b"a,b\n1,2", 422),
        ("?column=mag=zzz", "text/csv", b"a,b\n1,2", 400), ("?model=none", "text/csv", b"a,b\n1,2", 404),
        ("?model=braai.sim1", "text/csv", b"a,b\n1,2", 422), ("?time_format=moon", "text/csv",
        b"mjd,mag\n1,2", 400),
        ("", "application/vnd.apache.parquet", b"PAR1", 422), ("", "text/csv", b"", 422),
    ],
)  # fmt: skip
def test_tables_that_are_none_are_refused_in_a_sentence(client, query, kind, content, status):
    answer = client.post(f"{URL}/lightcurves{query}", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert "/tmp" not in answer.text  # noqa: S108


def test_a_pair_of_images_is_differenced_and_its_candidates_classified(client, tmp_path):
    from astrid.images import difference, read_frame
    from astrid.images.simulated_survey import write_pair
    from astrid.images.simulation import simulate_pair
    from astrid.images.simulation_config import SimulationConfig
    from astrid.survey.scoring import score_candidates

    config = SimulationConfig(shape=(256, 256), n_stars=70, n_galaxies=4, n_transients=4, snr_range=(15, 40))
    science, reference, *_ = write_pair(tmp_path, simulate_pair(config, seed=1), "0")
    files = {
        "science": (tmp_path / science).read_bytes(),
        "reference": gzip.compress((tmp_path / reference).read_bytes()),
    }
    body = client.post(f"{URL}/pair", files=files).json()
    ours = difference(read_frame(tmp_path / science), read_frame(tmp_path / reference))
    said = score_candidates(ours.triplets, find_bundle("braai.sim1"))["real"]
    wanted = dict(zip(map(str, ours.candidates["id"]), said.tolist(), strict=True))
    assert body["n_candidates"] == len(wanted) >= 4
    assert {item["name"] for item in body["items"]} == set(wanted)
    for item in body["items"]:
        assert item["scores"]["braai.sim1"]["heads"]["real"]["values"]["real"] == pytest.approx(
            wanted[item["name"]], abs=1e-6
        )


def test_a_pair_that_is_none_is_refused(client):
    for files in ({"science": b"no", "reference": b"no"}, {"science": b"SIMPLE", "reference": b"SIMPLE"}):
        answer = client.post(f"{URL}/pair", files=files)
        assert answer.status_code == 422, answer.text
        assert "/tmp" not in answer.text  # noqa: S108
    assert client.post(f"{URL}/pair", files={"science": b"no"}).status_code == 422


def test_spectra_are_told_to_be_missing(client):
    answer = client.post(f"{URL}/spectra", content=b"")
    assert answer.status_code == 501
    assert "no model of spectra" in answer.json()["detail"]


def test_who_is_not_known_classifies_nothing(filled):
    from starlette.testclient import TestClient

    from astrid.service.app import create_app
    from astrid.service.settings import Settings

    app = create_app(Settings(store=filled, host="0.0.0.0"))  # noqa: S104
    with TestClient(app, base_url="http://127.0.0.1:8000", client=("10.0.0.1", 5)) as stranger:
        assert stranger.post(f"{URL}/triplets", content=b"x").status_code in (401, 403)
        assert stranger.get("/api/v1/candidates").status_code in (401, 403, 421)
