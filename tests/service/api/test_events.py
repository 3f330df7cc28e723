"""New candidates are told while they are stored, to who listens, from where it was."""

from __future__ import annotations

import json
import time

import httpx2 as httpx
import pytest

from astrid.service.routes import events
from astrid.stream.settings import StreamSettings
from astrid.stream.workers import run_stream


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(events, "_LOOK", 0.1)
    monkeypatch.setattr(events, "_HEARTBEAT", 0.5)


def told(running, n, query=None, headers=None, after=None, seconds=20):
    """The first n events, and the lines that are none; `after` is done once the stream is open."""
    found, others, one = [], [], {}
    with (
        httpx.Client(timeout=seconds, headers=running.headers | (headers or {})) as client,
        client.stream("GET", f"{running.url}/api/v1/events", params=query or {}) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        end = time.monotonic() + seconds
        for line in answer.iter_lines():
            if after is not None:
                after()
                after = None
            if not line:
                if "data" in one:
                    found.append((one["id"], json.loads(one["data"])))
                one = {}
            elif line.startswith(":"):
                others.append(line)
            else:
                name, _, value = line.partition(": ")
                one[name] = value
                if name == "id":
                    others.append(line)
            if len(found) >= n or time.monotonic() > end:
                break
    return found, others


def add(running, samples, tmp_path, numbers):
    folder = tmp_path / f"more{numbers[0]}"
    folder.mkdir()
    for number in numbers:
        (folder / f"{number:04d}.avro").write_bytes(samples.packet(number, size=63))
    run_stream(StreamSettings(sources=(str(folder),), store=running.store.folder, models=()))


def test_what_is_stored_from_now_on_is_told_and_only_what_is_asked_for(running, samples, tmp_path):
    condition = {"filter": "alert_id::bigint % 2 = 0", "column": ["alert_id"]}
    found, _ = told(running, 5, condition, after=lambda: add(running, samples, tmp_path, range(100, 110)))
    assert [row for _, row in found] == [{"alert_id": str(k)} for k in range(100, 110, 2)]


def test_who_was_away_goes_on_with_the_next_one_and_misses_none(running):
    everything, _ = told(running, 90, {"since": "0-0"})
    assert [int(row["alert_id"]) for _, row in everything] == list(range(90))
    for k in (0, 10, 29, 30, 45, 88):
        rest, _ = told(running, 1, headers={"Last-Event-ID": everything[k][0]})
        assert rest == everything[k + 1 : k + 2]


def test_a_stream_in_which_nothing_happens_has_a_heartbeat_that_says_how_far_it_is(running):
    _, others = told(running, 1, seconds=1.5)
    assert ": heartbeat" in others
    identifier = next(line for line in others if line.startswith("id: ")).removeprefix("id: ")
    assert told(running, 1, headers={"Last-Event-ID": identifier}, seconds=0.7)[0] == []


def test_too_many_listeners_and_what_is_no_identifier_are_refused(running, monkeypatch):
    for query, status in (({"since": "x"}, 400), ({"filter": "nothing > 1"}, 422), ({"saved": "none"}, 404)):
        assert (
            httpx.get(f"{running.url}/api/v1/events", params=query, headers=running.headers).status_code
            == status
        )
    monkeypatch.setattr(events, "_MOST", 0)
    answer = httpx.get(f"{running.url}/api/v1/events", headers=running.headers)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


def test_listeners_end_when_the_service_stops_and_are_not_counted_for_ever(running):
    with (
        httpx.Client(timeout=10, headers=running.headers) as client,
        client.stream("GET", f"{running.url}/api/v1/events") as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        assert running.state.shared["events"].clients == 1
        running.state.stopping.set()
        began = time.monotonic()
        list(lines)
        assert time.monotonic() - began < 3
    assert running.state.shared["events"].clients == 0
