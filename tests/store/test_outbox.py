from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from astrid.errors import FilterError, UsageError
from astrid.store import Batch
from astrid.store.store import Store

Make = Callable[..., Batch]


def test_a_filter_that_is_edited_keeps_its_versions(store: Store):
    store.save_filter("sn", "h1", {"sql": "a > 1", "sinks": ["x"]})
    store.save_filter("agn", "h9", {"sql": "b"})
    store.save_filter("sn", "h2", {"sql": "a > 2"})
    assert [(one.name, one.hash) for one in store.filters()] == [("agn", "h9"), ("sn", "h2")]
    versions = [one for one in store.filters(active=None) if one.name == "sn"]
    assert [(one.hash, one.active, one.definition["sql"]) for one in versions] == [
        ("h1", False, "a > 1"),
        ("h2", True, "a > 2"),
    ]
    assert abs(versions[0].created - time.time()) < 60
    store.save_filter("sn", "h1", {"sql": "a > 1"})  # back to what it was
    assert [one.hash for one in store.filters() if one.name == "sn"] == ["h1"]
    assert [one.hash for one in store.filters(active=False)] == ["h2"]


def test_a_retired_filter_is_not_asked(store: Store):
    store.save_filter("sn", "h1", {})
    store.retire_filter("sn")
    assert store.filters() == []
    assert len(store.filters(active=None)) == 1
    with pytest.raises(FilterError, match="no active filter 'sn'; active are: none"):
        store.retire_filter("sn")


def test_what_passed_waits_until_it_is_marked(store: Store, make: Make):
    store.write(make(range(6), filters=("a", "b")))
    store.write(make(range(6, 8), filters=("a",)))
    assert len(store.pending(100)) == 14
    assert [(one.batch, one.filter, one.alert_id) for one in store.pending(2)] == [
        (1, "a", "000000"),
        (1, "a", "000001"),
    ]
    some = store.pending(4)
    store.mark(some[:1], "delivered")
    store.mark(some[1:3], "held", "more than 2 an hour")
    store.mark(some[3:], "failed", "the receiver said 500")
    assert store.counts().passes == {"delivered": 1, "failed": 1, "held": 2, "pending": 10}
    (sent,) = store.passes(state="delivered")
    assert sent.delivered_at is not None
    assert abs(sent.delivered_at - time.time()) < 60
    assert {one.reason for one in store.passes("a", state="held")} == {"more than 2 an hour"}
    store.mark(store.passes(state="held"), "pending")
    assert len(store.pending(100)) == 12
    assert len(store.passes("b", "hash of b")) == 6
    assert store.passes("b", "another hash") == []
    with pytest.raises(UsageError, match="no state 'lost'"):
        store.mark(some, "lost")  # type: ignore[arg-type]
    store.mark([], "delivered")


def test_two_publishers_do_not_take_the_same(store: Store, make: Make):
    store.write(make(range(60), filters=("a", "b")))
    taken: list[tuple[str, str]] = []

    def publish() -> None:
        while some := store.claim(7):
            taken.extend((one.filter, one.alert_id) for one in some)
            store.mark(some, "delivered")

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 120
    assert store.counts().passes == {"delivered": 120}


def test_what_a_dead_publisher_took_comes_again(store: Store, make: Make):
    store.write(make(range(3)))
    assert len(store.claim(10, seconds=0.2)) == 3
    assert store.claim(10) == []
    assert len(store.pending(10)) == 3
    time.sleep(0.25)
    assert [one.alert_id for one in store.claim(10)] == ["000000", "000001", "000002"]
