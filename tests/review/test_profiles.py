"""A profile shows the items of the queue that its condition lets through, in its order."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from astrid.errors import FilterError, UsageError
from astrid.review.assignment import take
from astrid.review.labelling import answer
from astrid.review.profiles import Profile, check, listing, order, profiles, read_profile, save
from astrid.store.asking import QueueRow
from astrid.store.store import Store

N = 60


@pytest.fixture
def asked(store: Store, people: SimpleNamespace) -> Store:
    people.fill(store, range(N // 2))
    people.fill(store, range(N // 2, N), night="2026-11-02")
    rows = [QueueRow(*people.key(k), 0, float(k % 7), "novel") for k in range(N)]
    store.labels.save_queue("braai", rows)
    return store


def numbers(keys: list[tuple[str, str]]) -> list[int]:
    return [int(alert_id) for _, alert_id in keys]


def magnitude(k: int) -> float:
    return 17 + k % 100 / 25


def test_a_condition_and_an_order_say_what_comes_next(asked: Store) -> None:
    profile = Profile(name="bright g", sql="magpsf < 18.2 and band = 'g'", order="magpsf", descending=True)
    want = [k for k in range(N - 1, -1, -1) if magnitude(k) < 18.2 and k % 3 == 0]
    assert numbers(order(asked, "braai", profile)) == want
    assert [int(one.alert_id) for one in take(asked, "braai", "ada", n=3, profile=profile)] == want[:3]
    assert [int(one.alert_id) for one in take(asked, "braai", "bob", n=2, profile=profile)] == want[3:5]
    assert numbers([one.key for one in take(asked, "braai", "ada", n=1, profile=profile)]) == want[:1]


def test_items_without_a_value_come_last_and_equal_ones_in_the_order_of_the_queue(asked: Store) -> None:
    table = asked.candidates([("ztf", f"{k:05d}") for k in range(N)], ["g_r"])
    value = np.array([np.nan if one is None else one for one in table["g_r"].to_pylist()])
    for descending in (False, True):
        found = numbers(order(asked, "braai", Profile(order="g_r", descending=descending)))
        n = int(np.isfinite(value).sum())
        want = np.argsort(-value if descending else value, kind="stable")[:n]
        assert found[:n] == want.tolist()
        assert found[n:] == np.flatnonzero(np.isnan(value)).tolist()
    by_value = numbers(order(asked, "braai", Profile(order="queue_value", descending=True)))
    assert by_value == sorted(range(N), key=lambda k: (-(k % 7), k))


def test_a_page_of_a_listing_tells_of_the_rows_and_hides_what_is_answered(
    asked: Store, people: SimpleNamespace
) -> None:
    answer(asked, "braai", "ada", people.key(0), key="key-of-ada", label="real")
    answer(asked, "braai", "bob", people.key(1), key="key-of-bob", answer="skip")
    profile = Profile(columns=("snr",))
    table, n = listing(asked, "braai", profile, user="bob", limit=5, offset=0)
    assert n == N - 1
    assert numbers(list(zip(table["survey"].to_pylist(), table["alert_id"].to_pylist(), strict=True))) == [
        1, 2, 3, 4, 5,
    ]  # fmt: skip
    assert table["mine"].to_pylist() == ["skip", None, None, None, None]
    assert {"snr", "magpsf", "queue_place", "queue_value", "queue_slot"} <= set(table.column_names)
    _, without_mine = listing(asked, "braai", profile.model_copy(update={"hide": "mine"}), user="bob")
    assert without_mine == N - 1
    everything, n = listing(
        asked, "braai", profile.model_copy(update={"hide": "nothing"}), user="bob", limit=2
    )
    assert n == N
    assert everything["n_answers"].to_pylist() == [1, 1]
    assert everything["mine"].to_pylist() == [None, "skip"]
    empty, n = listing(asked, "braai", Profile(sql="magpsf > 99"), limit=5)
    assert (empty.num_rows, n) == (0, 0)


def test_an_order_is_made_anew_with_the_queue(asked: Store, people: SimpleNamespace) -> None:
    profile = Profile(sql="band = 'g'")
    assert len(order(asked, "braai", profile)) == N / 3
    asked.labels.save_queue("braai", [QueueRow(*people.key(k), 0, 1.0, "novel") for k in (3, 4, 0)])
    assert numbers(order(asked, "braai", profile)) == [3, 0]


def test_a_saved_profile_was_checked(asked: Store) -> None:
    profile = Profile(name="mine", sql="snr > 5", order="arrived")
    assert save(asked, "ada", profile) == []
    assert profiles(asked, "ada") == [profile]
    assert read_profile(profile.model_dump_json()) == profile
    for wrong, says in (
        ({"sql": "magpsff < 19"}, "magpsf"),
        ({"sql": "magpsf"}, "neither true nor false"),
        ({"sql": "exists (select 1)"}, "cannot stand in a condition"),
        ({"sql": "true; drop table labels"}, "."),
        ({"order": "history"}, "history is a list and has no order"),
        ({"order": "password"}, "password"),
        ({"columns": ("nothing",)}, "nothing"),
    ):
        with pytest.raises(FilterError, match=says):
            check(asked, Profile(**wrong))
    with pytest.raises(UsageError, match="hide of the profile is 'all'"):
        read_profile({"hide": "all"})
    with pytest.raises(UsageError, match="name of the profile"):
        read_profile({"name": "<b>"})
