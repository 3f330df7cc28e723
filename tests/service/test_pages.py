"""What the pages say, and that nothing that was sent to us becomes a part of them."""

from __future__ import annotations

import json
import re
import struct
from html.parser import HTMLParser

import numpy as np
import pytest

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
PAGES = ("/review", "/review/scan", "/review/gallery", "/review/queue", "/account", "/admin")


@pytest.fixture
def busy(make_service, put_alerts):
    """A service with accounts and alerts, one of an object with a name that is HTML."""
    service = make_service(accounts=True)
    put_alerts(service.state.store, 8, {5: EVIL})
    return service


class Parts(HTMLParser):
    """The attributes of a page, as a browser finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.found += [(tag, name, value or "") for name, value in attrs] or [(tag, "", "")]


def unpack(content: bytes) -> tuple[dict, list[np.ndarray]]:
    """Read the form that the scripts read, by other means."""
    (length,) = struct.unpack_from("<I", content)
    facts = json.loads(content[4 : 4 + length], parse_constant=pytest.fail)
    pixels = np.frombuffer(content, "<f4", offset=4 + length)
    planes = [
        pixels[one["offset"] : one["offset"] + one["nx"] * one["ny"]].reshape(one["ny"], one["nx"])
        for one in facts["planes"]
        if not one["problem"]
    ]
    assert sum(one.size for one in planes) == pixels.size
    return facts, planes


def test_a_page_has_no_script_and_no_style_of_its_own(busy):
    for path in PAGES:
        page = busy.with_cookie("admin").get(path)
        assert page.status_code == 200, page.text
        scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page.text, re.DOTALL)
        assert all("src=" in how or 'type="application/json"' in how for how, _ in scripts)
        parts = Parts()
        parts.feed(page.text)
        assert not {tag for tag, _, _ in parts.found} & {"style", "iframe", "object", "embed", "base"}
        assert not [name for _, name, _ in parts.found if name == "style" or name.startswith("on")]
        addresses = [value for _, name, value in parts.found if name in ("src", "href", "action")]
        assert addresses
        assert all(one.startswith(("/", "#")) and not one.startswith("//") for one in addresses)
        assert "script-src 'self'" in page.headers["content-security-policy"]


def test_every_field_has_a_label_and_every_picture_a_name(busy):
    for path in PAGES:
        page = busy.with_cookie("admin").get(path).text
        assert page.count("<h1") == 1
        assert '<html lang="en">' in page
        without = re.sub(r"<label.*?</label>", "", page, flags=re.DOTALL)
        for tag in re.findall(r"<(?:input|select|textarea)[^>]*>", without):
            named = re.search(r'type="hidden"|aria-label=', tag)
            name = re.search(r'id="([^"]+)"', tag)
            assert named or (name and f'for="{name[1]}"' in page), tag


def test_a_packet_that_says_html_says_text(busy):
    client = busy.with_cookie("labeller")
    note = f"{EVIL} {{{{ 7 * 7 }}}}"
    client.post(
        "/api/v1/labels",
        json={"key": "key-number-1", "survey": "ztf", "alert_id": "5", "label": "bogus", "note": note},
    )
    pages = [
        client.get(f"/review/{path}").text
        for path in (
            "queue?hide=nothing&sql=true",
            "object?survey=ztf&alert=5",
            f"object?survey=ztf&object={EVIL}",
        )
    ]
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(2)&gt;" in page
    assert "{{ 7 * 7 }}" in pages[1]


def test_what_is_asked_for_comes_back_as_text(busy):
    for path in [f"/review/queue?sql={EVIL}", f"/review/object?survey={EVIL}&object={EVIL}", f"/{EVIL}"]:
        page = busy.with_cookie("admin").get(path, headers={"Accept": "text/html"})
        assert page.status_code in (400, 404)
        assert "<script>alert" not in page.text
        assert "Traceback" not in page.text


def test_the_pixels_are_those_of_the_packet(busy, samples):
    content = busy.with_cookie("viewer").get("/review/api/candidate?survey=ztf&alert_id=3").content
    facts, planes = unpack(content)
    # the packet is made of this, in the same order
    made = np.random.default_rng(3).normal(size=(3, samples.SIZE, samples.SIZE))
    made[2, samples.SIZE // 2, samples.SIZE // 2] = samples.peak(3)
    assert [one["name"] for one in facts["planes"]] == ["science", "reference", "difference"]
    for plane, expected in zip(planes, made, strict=True):
        np.testing.assert_array_equal(plane, expected.astype(np.float32))
    assert {"name": "magnitude", "text": "15.03 ± 0.10 r", "hint": "AB, of the difference"} in facts["facts"]
    curve = facts["curve"]
    assert curve["now"].count(True) == 1
    assert curve["mjd"] == sorted(curve["mjd"])
    assert {len(values) for values in curve.values() if isinstance(values, list)} == {len(curve["mjd"])}


def test_an_alert_without_images_says_why(make_service, put_alerts):
    service = make_service()
    put_alerts(service.state.store, 2, images=False)
    facts, planes = unpack(service.client().get("/review/api/candidate?survey=ztf&alert_id=1").content)
    assert planes == []
    assert [one["problem"] for one in facts["planes"]] == ["is absent"] * 3


def test_there_is_no_other_way_to_what_is_stored(busy):
    for alert_id in ["999", "../../astrid.db", "%2e%2e%2f", "1' or '1'='1", "\x00", "1\n"]:
        asked = busy.with_cookie("viewer").get(
            "/review/api/candidate", params={"survey": "ztf", "alert_id": alert_id}
        )
        assert asked.status_code in (400, 404, 422)


def rows_of(page: str) -> list[str]:
    return re.findall(r"<tr><td[^>]*><a [^>]*alert=(\d+)", page)


def test_the_queue_is_sorted_and_filtered_by_any_column(busy):
    client = busy.with_cookie("labeller")
    assert rows_of(client.get("/review/queue").text) == [str(k) for k in range(8)]
    by_mag = client.get("/review/queue?sql=magpsf > 15.025&order=magpsf&descending=true").text
    assert rows_of(by_mag) == ["7", "6", "5", "4", "3"]
    assert 'aria-sort="descending"' in by_mag
    client.post(
        "/api/v1/labels", json={"key": "key-number-1", "survey": "ztf", "alert_id": "7", "label": "real"}
    )
    assert "7" not in rows_of(client.get("/review/queue").text), "what is answered is hidden"
    shown = client.get("/review/queue?sql=true&hide=nothing&columns=snr").text
    assert "7" in rows_of(shown)
    assert ">snr</a>" in shown


def test_a_condition_that_cannot_be_used_is_explained(busy):
    for sql in ["no_such_column > 1", "magpsf >", "1; drop table labels", "read_text('/etc/passwd') = ''"]:
        page = busy.with_cookie("labeller").get("/review/queue", params={"sql": sql})
        assert page.status_code == 400
        assert 'role="alert"' in page.text
        assert rows_of(page.text) == [str(k) for k in range(8)], "and the queue is shown as it is"


def test_a_profile_is_saved_used_and_forgotten(busy):
    client = busy.with_cookie("labeller")
    form = {
        "task": "braai",
        "name": "faint ones",
        "sql": "magpsf > 15.055",
        "order": "magpsf",
        "descending": "true",
    }
    saved = client.post("/review/queue/profiles", data=form)
    assert saved.status_code == 303, saved.text
    assert rows_of(client.get(saved.headers["location"]).text) == ["7", "6"]
    items = client.get("/api/v1/labels/next?n=5&profile=faint ones").json()["items"]
    assert [one["alert_id"] for one in items] == ["7", "6"]
    assert "faint ones" in client.get("/review/scan?profile=faint ones").text
    assert client.get("/review/scan?profile=others").status_code == 400
    client.post("/review/queue/profiles", data=form | {"action": "remove"})
    assert client.get("/review/scan?profile=faint ones").status_code == 400
    assert [one.action for one in busy.state.store.accounts.audit(limit=2)] == [
        "profile.remove",
        "profile.save",
    ]


def test_what_others_said_unseen_stays_unseen_until_one_has_answered(busy):
    from astrid.store.asking import QueueRow

    busy.state.store.labels.save_queue("braai", [QueueRow("ztf", "2", 0, None, "random", blind=True)])
    first, second = busy.with_cookie("labeller"), busy.with_cookie("admin")
    said = {"survey": "ztf", "alert_id": "2", "label": "bogus", "note": "a ghost, I think"}
    first.post("/api/v1/labels", json=said | {"key": "key-number-1"})
    address = "/review/object?survey=ztf&alert=2"
    assert "a ghost, I think" in first.get(address).text
    assert "a ghost, I think" not in second.get(address).text
    second.post("/api/v1/labels", json=said | {"key": "key-number-2", "note": ""})
    assert "a ghost, I think" in second.get(address).text


def test_the_dashboard_counts_what_there_is(busy):
    client = busy.with_cookie("labeller")
    client.post(
        "/api/v1/labels", json={"key": "key-number-1", "survey": "ztf", "alert_id": "1", "label": "real"}
    )
    page = client.get("/review").text
    tiles = dict(re.findall(r'<dt>([^<]+)</dt><dd><div class="value">([^<]*)</div>', page))
    assert tiles["Waiting for an answer"] == "7"
    assert tiles["Answers"] == "1"
    assert tiles["Alerts of the night"] == "8"
    (night,) = set(re.findall(r'data-night="([^"]+)"', page))
    found = client.get(f"/review/api/drift?night={night}").json()
    assert found["verdict"] is None, "one night has nothing to be compared with"


def test_pages_of_an_empty_store_say_so(make_service):
    client = make_service().client()
    for path in PAGES:
        assert client.get(path).status_code == 200, path
    assert "No night yet" in client.get("/review").text
    assert "No item fits" in client.get("/review/queue").text
