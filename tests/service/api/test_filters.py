"""Filters of the stream over HTTP: checked as on the command line, saved, asked of the store, retired."""

from __future__ import annotations

import pytest

URL = "/api/v1/filters"


def test_a_filter_is_checked_saved_used_and_retired(client, service):
    asked = {"sql": "magpsf < 15.3"}
    checked = client.post(f"{URL}/check", json=asked).json()
    assert (checked["n"], checked["n_passed"]) == (90, 30)
    saved = client.put(f"{URL}/bright", json=asked)
    assert saved.status_code == 200
    assert saved.json()["n_passed"] == 30
    (one,) = client.get(URL).json()["filters"]
    assert one == client.get(f"{URL}/bright").json()
    assert one["hash"] == saved.json()["hash"] == service.state.store.filters()[0].hash
    rows = client.get("/api/v1/candidates", params={"saved": "bright"}).json()["candidates"]
    assert len(rows) == 30
    assert client.delete(f"{URL}/bright").status_code == 204
    assert client.get(f"{URL}/bright").status_code == 404
    assert client.delete(f"{URL}/bright").status_code == 404
    assert client.get("/api/v1/candidates", params={"saved": "bright"}).status_code == 404
    assert [one["active"] for one in client.get(URL, params={"all": True}).json()["filters"]] == [False]
    actions = [(row["action"], row["subject"]) for row in client.get("/api/v1/audit").json()]
    assert {("filter.save", "bright"), ("filter.retire", "bright")} <= set(actions)


@pytest.mark.parametrize(
    "definition",
    [
        {"sql": "magpsf < 3 and magpsf > 4"}, {"sql": "nothing > 1"}, {"sql": "magpsf"}, {"sql": ""},
        {"sql": "read_csv('/etc/passwd') is null"}, {"sql": "(select 1) = 1"}, {"region": "no moc"}, {"x": 1},
        {"watch_list": []}, {"watch_list": [{"ra": 400, "dec": 0}]}, {"limit_per_hour": 0}, {"sql": 7}, [],
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_is_refused_and_not_saved(client, definition):
    for answer in (client.post(f"{URL}/check", json=definition), client.put(f"{URL}/wrong", json=definition)):
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"]
    assert client.get(f"{URL}/wrong").status_code == 404


def test_a_sink_that_cannot_be_and_a_name_that_is_none_are_refused(client):
    assert client.put(f"{URL}/a", json={"sinks": ["nonsense://x"]}).status_code == 422
    for name in ("..%2f", "%00", "a b", "x" * 70):
        assert client.put(f"{URL}/{name}", json={}).status_code in (404, 422)


def test_a_region_and_a_watch_list_count(client):
    row = client.get("/api/v1/candidates", params={"limit": 1}).json()["candidates"][0]
    near = {"watch_list": [{"ra": row["ra"], "dec": row["dec"], "radius": 3}]}
    assert client.post(f"{URL}/check", json=near).json()["n_passed"] == 1
    assert client.post(f"{URL}/check", json={"region": "0/0-11"}).json()["n_passed"] == 90
