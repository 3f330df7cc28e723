"""Answers and the queue on both databases."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from astrid.errors import UsageError
from astrid.store import open_store
from astrid.store.labels import NewLabel, QueueRow
from astrid.store.store import Store

TASK = "braai"


def answered(
    number: int, user: str = "ada", answer: str = "label", label: str | None = "real", **facts: Any
) -> NewLabel:
    values = {"key": f"{user}-{number}-{answer}-{label}", "task": TASK, "survey": "ztf", "at": time.time()}
    values |= {"alert_id": f"{number:06d}", "user": user, "answer": answer}
    values |= {"label": label if answer == "label" else None, **facts}
    return NewLabel(**values)


def fill(
    store: Store, numbers: Sequence[int], *, blind: Sequence[int] = (), frozen: Sequence[int] = ()
) -> None:
    rows = [
        QueueRow("ztf", f"{k:06d}", 0, 1.0 / (k + 1), "uncertain", frozen=k in frozen, blind=k in blind)
        for k in numbers
    ]
    store.labels.save_queue(TASK, rows)


def numbers(items: Sequence[Any]) -> list[int]:
    return [int(one.alert_id) for one in items]


def test_an_answer_sent_twice_is_stored_once(store: Store) -> None:
    one = answered(3, tags=("ghost", "spike"), note="é ‘quoted’", seconds=1.5, shown=True, score=0.25)
    first = store.labels.add([one])
    assert store.labels.add([one, one]) == first * 2
    (record,) = store.labels.of_item("ztf", "000003")
    assert record.tags == ("ghost", "spike")
    assert record.note == one.note
    assert record.seconds == 1.5
    assert record.shown
    assert record.score == 0.25
    assert record.slot == "asked"
    assert not record.blind
    assert store.labels.by_id(first)[first[0]] == record == store.labels.by_key([one.key])[one.key]


def test_a_key_is_of_one_answer_only_and_nothing_of_the_rest_is_stored(store: Store) -> None:
    store.labels.add([answered(3, key="k")])
    with pytest.raises(UsageError, match="k was used for another answer, by ada to 000003"):
        store.labels.add([answered(4), answered(5, key="k")])
    assert numbers(store.labels.of_items([("ztf", f"{k:06d}") for k in range(9)])) == [3]


def test_of_each_person_the_latest_answer_counts_whichever_came_first(store: Store) -> None:
    store.labels.add(
        [answered(1, at=200.0), answered(1, label="bogus", at=300.0), answered(1, "bob", at=1.0)]
    )
    store.labels.add([answered(1, key="from an old file", label="bogus", at=100.0)])
    table = store.labels.of_task(TASK)
    assert list(zip(table["user"].to_pylist(), table["label"].to_pylist(), strict=True)) == [
        ("ada", "bogus"), ("bob", "real"),
    ]  # fmt: skip
    assert len(store.labels.of_task(TASK, undone=True)) == 4
    assert store.labels.of_task(TASK, users=["bob"])["label"].to_pylist() == ["real"]
    assert [one.user for one in store.labels.latest(TASK, n=2)] == ["ada", "bob"]


def test_own_unfinished_items_come_first_and_nobody_else_gets_them(store: Store) -> None:
    fill(store, range(6))
    assert numbers(store.labels.assign(TASK, "ada", n=2)) == [0, 1]
    assert numbers(store.labels.assign(TASK, "bob", n=2)) == [2, 3]
    store.labels.add([answered(0)])
    assert numbers(store.labels.assign(TASK, "ada", n=2)) == [1, 4]  # a reload goes on where it was
    assert numbers(store.labels.assign(TASK, "ada", n=1)) == [1]
    assert store.labels.release(TASK, "ada") == 2
    assert numbers(store.labels.assign(TASK, "bob", n=9)) == [2, 3, 1, 4, 5]


def test_what_was_held_for_too_long_goes_to_the_next_one_and_not_back(store: Store) -> None:
    fill(store, range(2))
    assert numbers(store.labels.assign(TASK, "ada", n=1, lease=0.0)) == [0]
    assert numbers(store.labels.assign(TASK, "ada", n=1, lease=0.0)) == [0]  # nobody wanted it meanwhile
    assert numbers(store.labels.assign(TASK, "bob", n=1)) == [0]
    assert numbers(store.labels.assign(TASK, "ada", n=2)) == [1]


def test_a_blind_item_goes_to_two_people_and_to_no_third(store: Store) -> None:
    fill(store, range(2), blind=[0])
    (ada,) = store.labels.assign(TASK, "ada", n=1)
    (bob,) = store.labels.assign(TASK, "bob", n=1)
    assert (ada.alert_id, ada.turn, ada.blind) == ("000000", 0, True)
    assert (bob.alert_id, bob.turn) == ("000000", 1)
    assert numbers(store.labels.assign(TASK, "cyd", n=2)) == [1]
    store.labels.add([answered(0, "bob")])
    assert numbers(store.labels.assign(TASK, "cyd", n=2)) == [1]
    store.labels.add([answered(0, "ada", label="bogus")])
    assert store.labels.queue_made(TASK)[:2] == (1, 2)
    assert all(one.blind for one in store.labels.of_item("ztf", "000000"))
    store.labels.undo("ada-0-label-bogus", "ada")
    assert numbers(store.labels.assign(TASK, "cyd", n=2)) == [1]  # it was given back to who undid
    assert numbers(store.labels.assign(TASK, "ada", n=1)) == [0]


def test_a_skipped_item_goes_to_somebody_else_and_one_that_cannot_be_told_to_nobody(store: Store) -> None:
    fill(store, range(3))
    store.labels.add([answered(0, answer="skip"), answered(1, answer="unsure")])
    assert numbers(store.labels.assign(TASK, "ada", n=3)) == [2]
    assert numbers(store.labels.assign(TASK, "bob", n=3)) == [0]


def test_an_undone_answer_brings_the_item_back_also_when_the_queue_was_made_anew(store: Store) -> None:
    fill(store, range(3))
    store.labels.assign(TASK, "ada", n=1)
    store.labels.add([answered(0, key="k")])
    fill(store, (1, 2))
    with pytest.raises(UsageError, match="no answer of bob with the key k"):
        store.labels.undo("k", "bob")
    first = store.labels.undo("k", "ada")
    assert first.undone is not None
    assert store.labels.undo("k", "ada") == first
    assert store.labels.of_item("ztf", "000000") == []
    (again,) = store.labels.assign(TASK, "ada", n=1)
    assert (again.alert_id, again.slot) == ("000000", "uncertain")
    store.labels.add([answered(0, key="k")])  # a late repetition of what was undone changes nothing
    assert store.labels.of_item("ztf", "000000") == []


def test_what_is_frozen_stays_so_and_what_is_on_a_screen_stays_first(store: Store) -> None:
    fill(store, range(6), frozen=[1, 4], blind=[3])
    store.labels.add([answered(4), answered(3)])
    store.labels.assign(TASK, "bob", n=1)
    fill(store, [5, 4, 9])
    rows = store.labels.queue(TASK, open_only=False)
    assert [(int(one.alert_id), one.frozen, one.open) for one in rows] == [
        (0, False, True), (3, False, True), (5, False, True), (4, True, False), (9, False, True),
        (1, True, True),
    ]  # fmt: skip
    assert numbers(store.labels.queue(TASK, 2, offset=1)) == [3, 5]
    assert store.labels.of_task(TASK)["frozen"].to_pylist() == [True, False]


def test_items_can_be_given_in_another_order(store: Store) -> None:
    fill(store, range(700))
    among = [("ztf", f"{k:06d}") for k in range(699, 100, -1)]
    assert numbers(store.labels.assign(TASK, "ada", n=2, among=among)) == [699, 698]
    assert numbers(store.labels.assign(TASK, "bob", n=2, among=among)) == [697, 696]
    store.labels.add([answered(699)])
    assert numbers(store.labels.assign(TASK, "ada", n=2, among=among)) == [698, 695]
    assert numbers(store.labels.assign(TASK, "ada", n=1, among=among[::-1])) == [695]


SCAN = """
import sys
from astrid.store import open_store
from astrid.store.labels import NewLabel

folder, database, user = sys.argv[1:]
with open_store(folder, database or None) as store:
    while items := store.labels.assign("braai", user, n=2):
        item = items[0]
        sys.stdout.write(item.alert_id + "\\n")
        key = f"{user}-{item.alert_id}"
        store.labels.add([NewLabel(key, "braai", item.survey, item.alert_id, user, "label", "real", at=1.0)])
"""


def once_each_and_blind_ones_twice(seen: list[list[str]], n: int, n_blind: int) -> None:
    given = sorted(one for person in seen for one in person)
    assert given == sorted([f"{k:06d}" for k in range(n)] + [f"{k:06d}" for k in range(n_blind)])
    assert all(len(set(person)) == len(person) for person in seen)


def test_no_two_threads_give_the_same_item_to_two_people(store: Store) -> None:
    fill(store, range(60), blind=range(10))

    def scan(person: int) -> list[str]:
        seen = []
        while items := store.labels.assign(TASK, f"user{person}", n=2):
            seen.append(items[0].alert_id)
            store.labels.add([answered(int(items[0].alert_id), f"user{person}")])
        return seen

    with ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(scan, range(6)))
    once_each_and_blind_ones_twice(seen, 60, 10)
    assert store.labels.queue(TASK) == []


def test_no_two_processes_give_the_same_item_to_two_people(
    new_address: Callable[[], tuple[Path, str | None]],
) -> None:
    folder, database = new_address()
    with open_store(folder, database) as store:
        fill(store, range(40), blind=range(6))
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", SCAN, str(folder), database or "", f"user{k}"],
                stdout=subprocess.PIPE, text=True,
            )
            for k in range(3)
        ]  # fmt: skip
        seen = [process.communicate(timeout=60)[0].split() for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0]
        once_each_and_blind_ones_twice(seen, 40, 6)


def test_thousands_of_answers_are_stored_at_once_and_counted(store: Store) -> None:
    many = [answered(k % 1000, f"user{k // 1000}", label="real" if k % 3 else "bogus", at=86_400.0 + k,
                     seconds=500.0, source="file") for k in range(3000)]  # fmt: skip
    assert len(set(store.labels.add(many))) == 3000
    tally = store.labels.tally(TASK)
    assert sum(one.n for one in tally) == 3000
    assert {one.day for one in tally} == {1}
    assert sum(one.n for one in tally if one.label == "bogus") == 1000
    assert sum(one.seconds for one in tally) == 3000 * 120
    assert {one.source for one in tally} == {"file"}
    assert store.labels.tasks() == [TASK]
    assert store.labels.missing_alerts([("ztf", "000001")]) == {("ztf", "000001")}


def test_profiles_are_kept_by_person_and_name(store: Store) -> None:
    store.labels.save_profile("ada", "bright", {"sql": "magpsf < 18"})
    store.labels.save_profile("ada", "bright", {"sql": "magpsf < 19"})
    store.labels.save_profile("bob", "bright", {"sql": "true"})
    assert [one.definition for one in store.labels.profiles("ada")] == [{"sql": "magpsf < 19"}]
    assert [one.user for one in store.labels.profiles()] == ["ada", "bob"]
    store.labels.remove_profile("ada", "bright")
    with pytest.raises(UsageError, match="ada has no profile 'bright'; there are: none"):
        store.labels.remove_profile("ada", "bright")
