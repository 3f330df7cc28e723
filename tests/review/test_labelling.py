"""Answers are looked at, kept with what the model had said, and never lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from astrid.errors import StoreError, UsageError
from astrid.learn import registry
from astrid.review.assignment import release, take
from astrid.review.labelling import Said, answer, answer_many, opinions, undo
from astrid.store import open_store
from astrid.store.asking import QueueRow
from astrid.store.store import Store

KEY = "key-of-an-answer"


@pytest.fixture
def asked(store: Store, people: SimpleNamespace) -> Store:
    people.fill(store, range(10))
    store.labels.save_queue("braai", [QueueRow(*people.key(k), 0, 0.5, "novel") for k in range(10)])
    return store


def test_an_answer_keeps_what_the_model_had_said_and_why_it_was_asked(
    asked: Store, people: SimpleNamespace
) -> None:
    (item,) = take(asked, "braai", "ada")
    assert (item.key, item.object_id, item.slot) == (people.key(0), "object00000", "novel")
    facts: dict[str, Any] = {"label": "bogus", "tags": ["edge", "SN"], "note": "odd", "seconds": 2.5}
    record = answer(asked, "braai", "ada", item, key=KEY, shown=True, **facts)
    assert (record.bundle, record.hash) == (people.BUNDLE, people.HASH)
    assert record.score == people.probability(0)
    assert (record.label, record.tags, record.note, record.seconds) == (
        "bogus", ("frame_edge", "supernova"), "odd", 2.5,
    )  # fmt: skip
    assert (record.slot, record.shown, record.user, record.source) == ("novel", True, "ada", "review")
    assert answer(asked, "braai", "ada", item, key=KEY, shown=True, **facts) == record
    assert take(asked, "braai", "ada")[0].key == people.key(1)


def test_the_last_answer_is_undone_without_its_key(asked: Store, people: SimpleNamespace) -> None:
    for k in range(3):
        answer(asked, "braai", "ada", people.key(k), key=f"key-{k:06d}", answer="unsure")
    answer(asked, "braai", "bob", people.key(3), key="key-of-bob", label="real")
    assert undo(asked, "ada", task="braai").alert_id == people.key(2)[1]
    assert take(asked, "braai", "ada")[0].key == people.key(2)
    with pytest.raises(UsageError, match="no answer of ada with the key key-of-bob"):
        undo(asked, "ada", "key-of-bob")
    with pytest.raises(UsageError, match="cyd has no answer that could be undone"):
        undo(asked, "cyd", task="braai")


def test_of_several_answers_all_are_stored_or_none(asked: Store, people: SimpleNamespace) -> None:
    good = [Said(people.key(k), f"gallery-{k}", label="bogus") for k in range(4)]
    with pytest.raises(StoreError, match="there is no alert 99999 of ztf in the store"):
        answer_many(asked, "braai", "ada", [*good, Said(("ztf", "99999"), "gallery-9", label="bogus")])
    assert asked.labels.of_task("braai").num_rows == 0
    assert [one.alert_id for one in answer_many(asked, "braai", "ada", good)] == [
        people.key(k)[1] for k in range(4)
    ]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"key": "short"}, "the key 'short' of an answer is none"),
        ({"key": "a key with spaces"}, "is none; give 8 to 100 letters"),
        ({"note": "x" * 2001}, "the note has 2001 characters; shorten it to 2000"),
        ({"note": "a\0b"}, "the note has a character that is none"),
        ({"note": "\ud800"}, "the note has a character that is none"),
        ({"seconds": float("nan")}, "the answer took nan s"),
        ({"seconds": -1.0}, "the answer took -1.0 s"),
        ({"tags": ["<script>"]}, "there is no tag '<script>'"),
        ({"label": "'; DROP TABLE labels"}, "braai has no label"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    asked: Store, people: SimpleNamespace, facts: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        answer(asked, "braai", "ada", people.key(0), **{"key": KEY, "label": "real", **facts})


def test_the_opinion_of_the_bundle_in_use_goes_before_that_of_others(
    store: Store, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.fill(store, range(2))
    others = {"braai.elder": 0.9, "dmdt.other": 0.1, people.BUNDLE: 0.2}
    people.fill(store, range(1), score=others)
    first, second = people.key(0), people.key(1)
    monkeypatch.setattr(registry, "live", lambda task: SimpleNamespace(hash="hash of braai.elder"))
    found = opinions(store, "braai", [first, second])
    assert found[first] == ("braai.elder", "hash of braai.elder", 0.9)
    assert found[second].bundle == people.BUNDLE
    monkeypatch.setattr(registry, "live", lambda task: None)
    assert opinions(store, "braai", [first])[first].bundle == people.BUNDLE


def test_items_can_be_given_back(asked: Store, people: SimpleNamespace) -> None:
    mine = take(asked, "braai", "ada", n=3)
    assert release(asked, "braai", "ada", mine[:1]) == 1
    assert take(asked, "braai", "bob")[0].key == people.key(0)
    assert release(asked, "braai", "ada") == 2
    with pytest.raises(UsageError, match="0 items are asked for; ask for 1 to 500"):
        take(asked, "braai", "ada", n=0)


def test_a_killed_process_loses_no_acknowledged_answer_and_doubles_none(
    tmp_path: Path, people: SimpleNamespace
) -> None:
    folder = tmp_path / "store"
    with open_store(folder) as store:
        people.fill(store, range(200))
        store.labels.save_queue("braai", [QueueRow(*people.key(k), 0, None, "random") for k in range(200)])
    program = textwrap.dedent(
        """
        import sys
        from astrid.review.assignment import take
        from astrid.review.labelling import answer
        from astrid.store import open_store
        store = open_store(sys.argv[1])
        while items := take(store, "braai", "ada", n=3):
            key = "key-of-" + items[0].alert_id
            answer(store, "braai", "ada", items[0], key=key, label="real")
            sys.stdout.write(key + "\\n")
            sys.stdout.flush()
        """
    )
    acknowledged: list[str] = []
    for n in (5, 9):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ},
        )
        assert process.stdout is not None
        acknowledged += [process.stdout.readline().strip() for _ in range(n)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split()  # what was written before it died
        process.wait()
        process.stdout.close()
    with open_store(folder) as store:
        table = store.labels.of_task("braai")
        stored = table["key"].to_pylist()
        assert set(acknowledged) <= set(stored)
        assert len(stored) <= len(acknowledged) + 2  # at most the one in flight, of each process
        items = table["alert_id"].to_pylist()
        assert len(set(items)) == len(items) == len(stored)
        # sent again after the restart, they are there once
        for key in acknowledged:
            answer(store, "braai", "ada", ("ztf", key.removeprefix("key-of-")), key=key, label="real")
        assert store.labels.of_task("braai", undone=True).num_rows == len(stored)
