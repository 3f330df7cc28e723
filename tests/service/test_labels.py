"""Labels over HTTP: stored once, taken back by who gave them, never the same item for two people."""

from __future__ import annotations

import pytest


@pytest.fixture
def labelled(make_service, put_alerts):
    """A service with accounts, and twelve alerts in the queue."""
    service = make_service(accounts=True)
    put_alerts(service.state.store, 12)
    return service


def said(alert_id: str, key: str, **more) -> dict:
    return {"survey": "ztf", "alert_id": alert_id, "key": key, "label": "real", **more}


def test_the_same_answer_sent_twice_is_stored_once(labelled):
    client = labelled.with_cookie("labeller")
    first, second = (client.post("/api/v1/labels", json=said("3", "key-number-1")) for _ in range(2))
    assert (first.status_code, first.json()) == (200, second.json())
    assert first.json()["user"] == "labeller"
    assert first.json()["slot"] == "random"
    assert len(client.get("/api/v1/labels").json()["labels"]) == 1


def test_a_key_is_for_one_answer_only(labelled):
    client = labelled.with_cookie("labeller")
    client.post("/api/v1/labels", json=said("3", "key-number-1"))
    other = client.post("/api/v1/labels", json=said("4", "key-number-1"))
    assert other.status_code == 400
    assert "key-number-1" in other.json()["detail"]


REFUSED = [
    ({"label": "quasar"}, 400),
    ({"answer": "unsure"}, 400),
    ({"answer": "perhaps"}, 422),
    ({"tags": ["no such tag"]}, 400),
    ({"alert_id": "../../etc/passwd"}, 404),
    ({"task": "nothing"}, 400),
    ({"key": "short"}, 422),
    ({"seconds": -1}, 422),
    ({"note": "x" * 2001}, 422),
    ({"user": "admin"}, 422),
]


def test_what_is_no_answer_is_refused_with_a_sentence(labelled):
    client = labelled.with_cookie("labeller")
    for change, status in REFUSED:
        refused = client.post("/api/v1/labels", json=said("3", "key-number-1") | change)
        assert refused.status_code == status, change
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["detail"]
    assert client.get("/api/v1/labels").json()["labels"] == []


def test_only_who_gave_an_answer_takes_it_back(labelled):
    client, admin = labelled.with_cookie("labeller"), labelled.with_cookie("admin")
    client.post("/api/v1/labels", json=said("3", "key-number-1"))
    assert admin.delete("/api/v1/labels/key-number-1").status_code == 404
    assert client.delete("/api/v1/labels/key-number-1").json()["undone"]
    assert client.delete("/api/v1/labels/key-number-1").status_code == 200, "taken back twice is taken back"
    assert client.get("/api/v1/labels").json()["labels"] == []
    assert client.get("/api/v1/labels/next").json()["items"][0]["alert_id"] == "3"


def test_two_people_get_different_items_until_one_gives_them_back(labelled):
    client, admin = labelled.with_cookie("labeller"), labelled.with_cookie("admin")
    mine = client.get("/api/v1/labels/next?n=8").json()
    theirs = admin.get("/api/v1/labels/next?n=8").json()
    ids = [{one["alert_id"] for one in found["items"]} for found in (mine, theirs)]
    assert [len(one) for one in ids] == [8, 4]
    assert not ids[0] & ids[1]
    assert mine["remaining"] == 12
    assert client.post("/api/v1/labels/release", json={"items": [["ztf", "0"]]}).json() == {"n": 1}
    assert "0" in {one["alert_id"] for one in admin.get("/api/v1/labels/next?n=8").json()["items"]}


def test_pages_of_answers_follow_each_other_without_gaps(labelled):
    client = labelled.with_cookie("labeller")
    for k in range(7):
        client.post("/api/v1/labels", json=said(str(k), f"key-number-{k}"))
    found, address = [], "/api/v1/labels?limit=3"
    while address:
        page = client.get(address).json()
        found += [one["alert_id"] for one in page["labels"]]
        address = page["next"]
    assert found == [str(k) for k in range(7)]
    assert client.get("/api/v1/labels?of=admin").json()["labels"] == []


def test_the_choices_are_those_of_the_task(labelled):
    found = labelled.with_cookie("viewer").get("/api/v1/labels/choices").json()
    assert [one["label"] for one in found["labels"]] == ["real", "bogus"]
    assert {"ghost", "supernova"} <= {one["tag"] for one in found["tags"]}
