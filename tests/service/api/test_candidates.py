"""Questions about what is stored: pages, conditions, places, cutouts, objects, explanations."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from PIL import Image

URL = "/api/v1/candidates"


def pages(client, **query):
    """All candidates of a query, page by page; and how many pages there were."""
    answer = client.get(URL, params=query)
    found, n = [], 0
    while True:
        assert answer.status_code == 200, answer.text
        n += 1
        body = answer.json()
        found += body["candidates"]
        if body["next"] is None:
            assert "link" not in answer.headers
            return found, n
        assert answer.headers["link"] == f'<{body["next"]}>; rel="next"'
        answer = client.get(body["next"])


def numbers(rows):
    return [int(row["alert_id"]) for row in rows]


@pytest.mark.parametrize("limit", [1, 7, 30, 89, 90, 91])
def test_pages_of_any_length_hold_each_candidate_once_in_the_order_of_the_batches(client, limit):
    oldest, n = pages(client, order="oldest", limit=limit)
    assert numbers(oldest) == list(range(90))
    assert n == max(1, -(-90 // limit))
    newest, _ = pages(client, limit=limit)
    assert numbers(newest) == [number for k in (60, 30, 0) for number in range(k, k + 30)]


@pytest.mark.parametrize("condition", ["magpsf < 15.4", "band = 'g' and mjd > 61346.5", "realbogus >= 0"])
def test_a_condition_gives_what_a_look_at_every_row_gives(service, client, condition):
    rows, _ = pages(client, order="oldest", limit=9, filter=condition, column=["alert_id"])
    import duckdb
    import pyarrow as pa

    table = pa.concat_tables(service.state.store.history())
    connection = duckdb.connect()
    connection.register("rows", table)
    wanted = connection.execute(f"SELECT alert_id FROM rows WHERE {condition}").fetchall()  # noqa: S608
    assert 0 < len(rows) == len(wanted)
    assert {row["alert_id"] for row in rows} == {one for (one,) in wanted}


def test_nights_and_surveys_are_told_apart(client):
    nights = {row["night"] for row in pages(client)[0]}
    assert len(nights) == 3
    night = sorted(nights)[1]
    assert numbers(pages(client, since=night, until=night, limit=8)[0]) == list(range(30, 60))
    assert pages(client, survey="lsst")[0] == []
    assert len(pages(client, survey=["lsst", "ztf"])[0]) == 90


def test_a_cone_gives_the_nearest_first_as_astropy_measures_it(client):
    rows, _ = pages(client, limit=90)
    place = rows[17]
    here = SkyCoord(place["ra"], place["dec"], unit="deg")
    near, _ = pages(client, ra=place["ra"], dec=place["dec"], radius=3600)
    assert near[0]["alert_id"] == place["alert_id"]
    assert near[0]["distance"] == 0
    there = SkyCoord([row["ra"] for row in rows], [row["dec"] for row in rows], unit="deg")
    assert len(near) == (here.separation(there).arcsec <= 3600).sum()
    answer = client.get(URL, params={"ra": 1, "dec": 2})
    assert answer.status_code == 422


def test_columns_are_those_that_are_asked_for(client):
    (row,) = client.get(URL, params={"limit": 1, "column": ["alert_id", "snr"]}).json()["candidates"]
    assert list(row) == ["alert_id", "snr"]
    (row,) = client.get(URL, params={"limit": 1, "column": "*"}).json()["candidates"]
    known = [one["name"] for one in client.get("/api/v1/columns").json()["columns"]]
    assert set(row) - {"batch"} <= set(known)
    assert len(row["history"]) == 2
    assert client.get(URL, params={"column": "password"}).status_code == 422
    assert client.get(URL, params={"column": "*", "limit": 500}).status_code == 422


def test_a_client_that_has_a_page_is_told_so_without_it(client):
    answer = client.get(URL, params={"limit": 3})
    again = client.get(
        URL, params={"limit": 3}, headers={"If-None-Match": f'"x", W/{answer.headers["etag"]}'}
    )
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(URL, params={"limit": 4}, headers={"If-None-Match": answer.headers["etag"]})
    assert other.status_code == 200


def test_a_cursor_is_of_its_query_only(client):
    address = client.get(URL, params={"limit": 3, "filter": "magpsf < 19"}).json()["next"]
    cursor = address.partition("cursor=")[2]
    for query in ({"filter": "magpsf < 18", "cursor": cursor}, {"cursor": "AAAA"}, {"cursor": "W10"}):
        answer = client.get(URL, params=query)
        assert answer.status_code == 400
        assert "cursor" in answer.json()["detail"]


@pytest.mark.parametrize(
    "condition",
    [
        "1=1; DROP TABLE alerts", "alert_id IN (SELECT name FROM users)", "read_text('/etc/passwd') <> ''",
        "nothing > 1", "magpsf", "getenv('HOME') = ''", "(", "magpsf < 18) OR (1=1",
        "current_setting('x') = ''",
    ],
)  # fmt: skip
def test_a_condition_that_is_more_than_one_is_refused_in_a_sentence(client, condition):
    answer = client.get(URL, params={"filter": condition})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].count("\n") == 0


def test_one_candidate_has_its_row_its_scores_and_its_links(service, client):
    body = client.get(f"{URL}/ztf/17").json()
    assert body["candidate"]["alert_id"] == "17"
    assert {score["bundle"] for score in body["scores"]} >= {"braai.sim1", "braai.real1"}
    for link in body["links"].values():
        if not link.endswith(("cutouts",)):
            assert client.get(link).status_code == 200, link
    assert client.get(f"{URL}/ztf/17/scores", params={"bundle": "braai.sim1"}).json()["scores"] == [
        score for score in body["scores"] if score["bundle"] == "braai.sim1"
    ]
    assert client.get(f"{URL}/ztf/17/packet").content == service.state.store.packet("ztf", "17")[0]


@pytest.mark.parametrize(
    "name", ["none", "..%2f..%2fetc%2fpasswd", "17%00", "%2e%2e", "'; DROP TABLE alerts; --", "🌌"]
)
@pytest.mark.parametrize(
    "more", ["", "/scores", "/packet", "/cutouts/science.png", "/cutouts/difference.fits", "/explanations"]
)
def test_what_is_not_there_is_not_found(client, name, more):
    for address in (f"{URL}/ztf/{name}{more}", f"{URL}/{name}/17{more}", f"/api/v1/objects/ztf/{name}"):
        assert client.get(address).status_code == 404


def test_a_cutout_as_fits_is_what_the_survey_sent_and_as_png_is_its_size(client):
    rng = np.random.default_rng(17)
    planes = rng.normal(size=(3, 63, 63))
    answer = client.get(f"{URL}/ztf/17/cutouts/science.fits")
    with fits.open(io.BytesIO(answer.content)) as hdus:
        hdus.verify("exception")
        assert np.array_equal(hdus[0].data, planes[0].astype(np.float32))
        assert (hdus[0].header["ALERTID"], hdus[0].header["SURVEY"]) == ("17", "ztf")
    for plane in ("science", "reference", "difference"):
        for query in ({}, {"invert": True, "stretch": "linear", "zoom": 3}):
            picture = client.get(f"{URL}/ztf/17/cutouts/{plane}.png", params=query)
            image = Image.open(io.BytesIO(picture.content))
            assert image.size == ((63 * query.get("zoom", 1),) * 2)
            assert len(set(image.convert("L").tobytes())) > 20
    again = client.get(
        f"{URL}/ztf/17/cutouts/science.fits", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    assert client.get(f"{URL}/ztf/17/cutouts/science.png", params={"zoom": 99}).status_code == 422


def test_a_png_shows_the_first_row_at_the_bottom_and_its_inverse_the_other_way(client, samples, service):
    ours = Image.open(io.BytesIO(client.get(f"{URL}/ztf/17/cutouts/science.png").content)).convert("L")
    plane = np.random.default_rng(17).normal(size=(3, 63, 63))[0]
    shown = np.flipud(np.asarray(ours, float))
    assert np.corrcoef(plane.ravel(), shown.ravel())[0, 1] > 0.9
    other = client.get(f"{URL}/ztf/17/cutouts/science.png", params={"invert": True}).content
    assert (
        np.corrcoef(
            shown.ravel(), np.flipud(np.asarray(Image.open(io.BytesIO(other)).convert("L"), float)).ravel()
        )[0, 1]
        < -0.99
    )


def test_an_object_has_all_its_alerts_and_each_measurement_once(client):
    body = client.get("/api/v1/objects/ztf/ZTF260000007").json()
    assert [row["alert_id"] for row in body["alerts"]] == ["7", "57"]
    assert body["n_alerts"] == 2
    points = client.get(body["links"]["lightcurve"]).json()["points"]
    assert len(points) == 6  # two detections, and the histories of both
    assert [point["mjd"] for point in points] == sorted(point["mjd"] for point in points)


def test_an_explanation_is_that_of_the_library_and_is_made_once(client, service, monkeypatch):
    from astrid.alerts import centred_triplet
    from astrid.learn import explanation
    from astrid.learn.registry import find_bundle
    from astrid.stream.stored import stored_alert

    address = f"{URL}/ztf/5/explanations"
    body = client.get(address, params={"method": "channels"}).json()
    triplet = centred_triplet(stored_alert(service.state.store, "ztf", "5"))
    ours = explanation.explain(
        find_bundle("braai.sim1"), {"triplet": triplet}, method="channels", sanity=False
    )
    wanted = json.loads(json.dumps(ours.to_json()))
    assert {**body, "seconds": 0} == {**wanted, "seconds": 0}
    monkeypatch.setattr(explanation, "explain", None)  # nobody makes it again
    again = client.get(address, params={"method": "channels"})
    assert again.json() == body
    assert (
        client.get(
            address, params={"method": "channels"}, headers={"If-None-Match": again.headers["etag"]}
        ).status_code
        == 304
    )


def test_an_explanation_as_a_picture_and_what_cannot_be_explained(client):
    picture = client.get(f"{URL}/ztf/5/explanations", params={"method": "channels", "form": "png"})
    assert Image.open(io.BytesIO(picture.content)).format == "PNG"
    for query, status in (
        ({"model": "nothing"}, 404), ({"model": "dmdt.crts1"}, 422), ({"method": "magic"}, 422),
        ({"head": "nothing"}, 400), ({"target": "nothing"}, 400),
    ):  # fmt: skip
        assert client.get(f"{URL}/ztf/5/explanations", params=query).status_code == status, query


def test_a_packet_that_was_removed_is_gone_and_all_else_is_there(samples, tmp_path):
    from datetime import date

    from starlette.testclient import TestClient

    from astrid.service.app import create_app
    from astrid.service.settings import Settings
    from astrid.store import open_store
    from astrid.stream.settings import StreamSettings
    from astrid.stream.workers import run_stream

    (tmp_path / "1.avro").write_bytes(samples.packet(1))
    run_stream(StreamSettings(sources=(str(tmp_path / "1.avro"),), store=tmp_path / "store", models=()))
    with open_store(tmp_path / "store") as store:
        store.retain(0, date(2030, 1, 1))
        app = create_app(Settings(store=tmp_path / "store"), store)
        with TestClient(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 5)) as client:
            for more in ("/packet", "/cutouts/science.png", "/cutouts/science.fits", "/explanations"):
                assert client.get(f"{URL}/ztf/1{more}").status_code == 410
            assert client.get(f"{URL}/ztf/1").status_code == 200
