"""What people do on the page with one candidate at a time, in a real browser."""

from __future__ import annotations

import statistics
import threading
import time
from urllib.parse import urlsplit

import pytest

KEYS = {"r": "real", "b": "bogus", "1": "real", "2": "bogus"}

# how long it takes from a key to the next candidate, as drawn
WATCH = """() => {
  window.waits = [];
  let began = null;
  addEventListener("keydown", (event) => { began = event.timeStamp; }, true);
  new MutationObserver(() => {
    if (began === null || !document.body.dataset.item) return;
    const from = began;
    began = null;
    requestAnimationFrame(() => window.waits.push(performance.now() - from));
  }).observe(document.body, { attributes: true, attributeFilter: ["data-item"] });
}"""


@pytest.fixture(scope="module")
def service(served):
    return served(420)


@pytest.fixture(scope="module")
def fragile(served):
    return served(90)


def counted(rows: list[dict], user: str) -> dict[str, str]:
    return {
        f"{one['survey']}/{one['alert_id']}": one["label"] or one["answer"]
        for one in rows
        if one["user"] == user
    }


@pytest.mark.slow
def test_two_hundred_are_labelled_by_keyboard_each_next_one_at_once(service, people):
    ada = people(service)
    ada.log_in("ada")
    ada.wait()
    ada.page.evaluate(WATCH)
    said: dict[str, str] = {}
    item = None
    began = time.monotonic()
    for k in range(200):
        item = ada.wait(item)
        key = list(KEYS)[k % len(KEYS)]
        said[item] = KEYS[key]
        ada.page.keyboard.press(key)
    took = time.monotonic() - began
    ada.wait(item)
    ada.settled()
    assert len(said) == 200, "no candidate came twice"
    rows = service.labels(undone=True)
    assert counted(rows, "ada") == said
    assert len(rows) == 200, "each answer is stored once"
    assert all(0 <= one["seconds"] < took and not one["shown"] and one["slot"] == "random" for one in rows)
    assert {one["bundle"] for one in rows} == {"braai.toy"}
    waits = ada.page.evaluate("window.waits")
    assert len(waits) == 200
    assert statistics.median(waits) < 100
    assert ada.errors == []
    assert {urlsplit(address).netloc for address in ada.asked} == {urlsplit(service.address).netloc}


def test_what_is_taken_back_comes_again_and_counts_no_more(service, people):
    ben = people(service)
    ben.log_in("ben")
    first = ben.press("r")
    second = ben.wait(first)
    ben.page.keyboard.press("z")
    assert ben.wait(second) == first
    ben.page.keyboard.press("b")
    ben.wait(first)
    ben.settled()
    rows = [one for one in service.labels(undone=True) if one["user"] == "ben"]
    assert [(one["label"], one["undone"] is None) for one in rows] == [("real", False), ("bogus", True)]
    assert ben.item == second


def test_a_page_that_is_loaded_again_goes_on_where_it_was(service, people):
    ben = people(service)
    ben.log_in("ben")
    first = ben.press("u")
    current = ben.wait(first)
    ben.page.reload()
    assert ben.wait() == current
    assert current not in {f"ztf/{one['alert_id']}" for one in service.labels()}


def test_two_people_at_once_never_see_the_same(service, people):
    pair = [people(service), people(service)]
    for person, name in zip(pair, ("ben", "cleo"), strict=True):
        person.log_in(name)
    seen: list[set[str]] = [set(), set()]
    for _ in range(25):
        for k, person in enumerate(pair):
            item = person.press("b")
            seen[k].add(item)
            person.wait(item)
    for person in pair:
        person.settled()
    assert [len(one) for one in seen] == [25, 25]
    assert not seen[0] & seen[1]
    rows = [one for one in service.labels() if one["user"] in ("ben", "cleo")]
    items = [one["alert_id"] for one in rows]
    assert len(items) == len(set(items))


def test_the_models_opinion_is_hidden_until_it_is_asked_for(service, people):
    ben = people(service)
    ben.log_in("ben")
    item = ben.wait()
    assert not ben.page.locator("#opinion").is_visible()
    ben.page.keyboard.press("m")
    assert ben.page.locator("#opinion").inner_text().startswith("braai.toy")
    ben.page.keyboard.press("r")
    ben.wait(item)
    assert not ben.page.locator("#opinion").is_visible()
    ben.settled()
    row = next(one for one in service.labels() if item == f"ztf/{one['alert_id']}")
    assert row["shown"]


def test_notes_and_tags_go_along_with_the_answer_and_stay_text(service, people):
    ben = people(service)
    ben.log_in("ben")
    item = ben.wait()
    note = "<script>document.body.dataset.broken=1</script> r b \"'"
    dialog = ben.page.locator("dialog[open]")
    ben.page.keyboard.press("n")
    dialog.wait_for()
    ben.page.keyboard.type(note)  # r and b in it are no answers
    ben.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    ben.page.keyboard.press("t")
    dialog.wait_for()
    ben.page.keyboard.type("ghos")
    ben.page.keyboard.press("Enter")
    ben.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert ben.item == item
    assert note in ben.page.locator("#with").inner_text()
    ben.page.keyboard.press("b")
    ben.wait(item)
    ben.settled()
    row = next(one for one in service.labels() if item == f"ztf/{one['alert_id']}")
    assert (row["note"], row["tags"]) == (note, ["ghost"])
    ben.page.goto(f"{service.address}/review/object?survey=ztf&alert={row['alert_id']}")
    ben.wait()
    assert note in ben.page.locator("blockquote").inner_text()
    assert ben.page.evaluate("document.body.dataset.broken ?? null") is None
    assert ben.errors == []


def test_an_object_whose_name_is_html_is_only_a_name(service, people):
    vera = people(service)
    vera.log_in("vera", "/review/queue")
    vera.page.goto(f"{service.address}/review/queue?hide=nothing&sql=true")
    link = vera.page.get_by_role("link", name="<img src=x")
    assert link.count() == 1
    link.click()
    vera.wait()
    assert vera.page.locator("h1").inner_text().startswith("<img src=x onerror=")
    assert vera.page.locator("#stamps canvas").count() == 3
    assert vera.page.evaluate("document.body.dataset.broken ?? null") is None
    assert vera.errors == []


def test_fifty_at_once_get_one_label(service, people):
    cleo = people(service)
    cleo.log_in("cleo", "/review/gallery")
    cleo.page.wait_for_function("() => document.body.dataset.page === '1'")
    tiles = cleo.page.locator(".tile")
    assert tiles.count() == 50
    before = len(service.labels())
    for key in ("Space", "ArrowRight", "ArrowRight", "Space", "r"):
        cleo.page.keyboard.press(key)
    assert cleo.page.locator(".tile.answered").count() == 2
    cleo.page.keyboard.press("z")
    assert cleo.page.locator(".tile.answered").count() == 0
    for key in ("x", "x", "x", "b"):
        cleo.page.keyboard.press(key)
    assert cleo.page.locator(".tile.answered").count() == 50
    cleo.settled()
    rows = [one for one in service.labels()[before:] if one["user"] == "cleo"]
    assert [one["label"] for one in rows] == ["bogus"] * 50
    cleo.page.keyboard.press("Enter")
    cleo.page.wait_for_function("() => document.body.dataset.page === '2'")
    assert cleo.page.locator(".tile.answered").count() == 0
    assert cleo.errors == []


def test_a_server_that_is_killed_loses_no_answer_and_doubles_none(fragile, people):
    service, ben = fragile, people(fragile)
    ben.log_in("ben")
    said: dict[str, str] = {}

    def label(n: int) -> None:
        for k in range(n):
            item = ben.wait(next(reversed(said), None))
            said[item] = "real" if k % 2 else "bogus"
            ben.page.keyboard.press(said[item][0])

    label(8)
    ben.page.wait_for_function(  # those that are labelled without a server are there
        "n => performance.getEntriesByType('resource')"
        ".filter((one) => one.name.includes('/review/api/candidate') && one.responseEnd).length >= n",
        arg=8 + 6 + 1,
    )
    killer = threading.Timer(0.05, service.kill)  # in the middle of what is being sent
    killer.start()
    label(6)  # from what was fetched before
    killer.join()
    ben.page.wait_for_function("() => document.querySelector('#outbox').textContent.includes('not sent yet')")
    waiting = ben.item
    service.start()
    ben.settled()
    label(10)
    ben.settled()
    rows = service.labels(undone=True)
    assert counted(rows, "ben") == said
    assert len(rows) == len(said) == 24
    assert waiting in said


def test_answers_outlive_the_page_that_gave_them(fragile, people):
    service, ben = fragile, people(fragile)
    ben.log_in("ben")
    before = counted(service.labels(undone=True), "ben")
    item = ben.wait()
    ben.page.wait_for_function("() => performance.getEntriesByType('resource').length > 20")
    service.kill()
    ben.page.keyboard.press("r")
    second = ben.wait(item)
    ben.page.keyboard.press("b")
    ben.wait(second)
    ben.page.close()
    service.start()
    ben.page = ben.context.new_page()
    ben.page.goto(service.address + "/review/scan")
    third = ben.wait()
    ben.settled()
    assert counted(service.labels(undone=True), "ben") == before | {item: "real", second: "bogus"}
    assert third not in (item, second)
