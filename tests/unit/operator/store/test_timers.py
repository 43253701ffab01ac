"""Parked runs whose timers are due, and the oldest open run: asked for without looking at all of them."""

import random
from datetime import timedelta

import msgspec

from pinfleet.wire import Wait
from pinfleet_operator.api.approval import ApprovalRecord
from pinfleet_operator.api.run import RunRecord, pack, unpack
from pinfleet_operator.store import Store
from pinfleet_operator.store.counts import ELDERS
from tests.unit.operator.plan.worlds import FLEET, NAMESPACE, a_record
from tests.unit.operator.runs.conftest import NOW, RUNNING

change = msgspec.structs.replace


def parked(n: int, rv: int, *seconds: float, age: int = 0) -> RunRecord:
    """Run number n, parked until so many seconds from now."""
    waits = tuple(Wait(id=f"w{i}", kind="Timer", until=NOW + timedelta(seconds=each)) for i, each in enumerate(seconds))
    created = NOW - timedelta(seconds=age)
    found = change(RUNNING, uid=f"u{n}", name=f"run-{n}", resource_version=rv, phase="Parked", waiting_for=waits)
    return change(found, created_at=created, pod=None, pod_uid=None, boot=None)


def due(store: Store, seconds: float) -> int:
    """Parked runs of v1 with a timer due by then."""
    return store.due("ns", "support", "v1", NOW + timedelta(seconds=seconds))


def test_a_run_is_due_once_the_first_of_its_timers_is() -> None:
    """It stays due until it is parked no more, however often one asks."""
    store = Store()
    store.runs.upsert(parked(1, 10, 60, 30), "10")
    store.runs.upsert(parked(2, 11), "11")
    assert [due(store, at) for at in (29, 30, 61, 61)] == [0, 1, 1, 1]
    store.runs.upsert(change(RUNNING, uid="u1", name="run-1", resource_version=12), "12")
    assert due(store, 61) == 0


def test_only_the_newest_waits_count() -> None:
    """A run that was parked anew is due by its new timers alone."""
    store = Store()
    for rv, seconds in ((10, 30), (11, 90), (12, 60)):
        store.runs.upsert(parked(1, rv, seconds), str(rv))
    store.runs.upsert(parked(2, 13, 500), "13")
    assert [due(store, at) for at in (59, 60, 100)] == [0, 1, 1]


def test_waits_that_are_void_are_forgotten() -> None:
    """A run that is parked again and again does not fill the memory."""
    store = Store()
    for rv in range(10, 5000):
        store.runs.upsert(parked(1, rv, rv), str(rv))
    assert len(store.runs.timers._versions["ns", "support", "v1"].later) < 100


def test_due_runs_equal_a_look_at_all() -> None:
    """Whatever came and went, in whichever order of times."""
    rng, store, truth = random.Random(7), Store(), dict[int, RunRecord]()
    for rv in range(10, 2000):
        n = rng.randrange(40)
        if n in truth and rng.random() < 0.3:
            store.runs.remove(truth.pop(n), str(rv))
        else:
            truth[n] = parked(n, rv, *(rng.randrange(3000) for _ in range(rng.randrange(3))))
            store.runs.upsert(truth[n], str(rv))
        until = NOW + timedelta(seconds=rv)
        expected = sum(any(w.until and w.until <= until for w in run.waiting_for) for run in truth.values())
        assert due(store, rv) == expected


def test_the_oldest_open_run_is_known_beyond_the_elders() -> None:
    """Also when all those have ended that were known as the oldest."""
    store, n = Store(), 3 * ELDERS
    ages = random.Random(3).sample(range(10_000), n)
    runs = [parked(i, 10 + i, age=age) for i, age in enumerate(ages)]
    for run in runs:
        store.runs.upsert(run, str(run.resource_version))
    for gone, run in enumerate(sorted(runs, key=lambda run: run.created_at)):
        counts = store.counts("ns", "support", "v1")
        assert (counts.open, counts.oldest_open_run) == (n - gone, run.name)
        store.runs.remove(run, str(10_000 + gone))


def test_a_parked_run_is_kept_small_and_whole() -> None:
    """Nothing is missing of what is kept in a third of the size but what it says to people."""
    run = parked(1, 10, 60)
    assert unpack(*pack(change(run, message="waits for an answer"))) == change(run, message="")


def test_a_run_on_a_pod_is_kept_whole() -> None:
    """Its message stays: what is to be said is held against it."""
    run = change(RUNNING, message="runs on pod p")
    assert unpack(*pack(run)) == run


def test_a_uid_is_kept_once() -> None:
    """Whoever asks for a run gets the text that the store has: a hundred thousand copies would take megabytes."""
    first, second = (pack(change(RUNNING, uid=text.decode())).uid for text in (b"u-1", b"u-1"))
    assert first is second


def test_a_message_is_due_at_once() -> None:
    """A parked run that has not seen a message is due whatever its timers say; one that has seen it is not."""
    store = Store()
    store.runs.upsert(change(parked(1, 10, 60), messages=2, messages_seen=1), "10")
    assert due(store, 0) == 1
    store.runs.upsert(change(parked(1, 11, 60), messages=2, messages_seen=2), "11")
    assert due(store, 0) == 0


def test_the_next_timer_is_the_first_that_is_not_due() -> None:
    """It is asked for without looking at what was due before, or what is parked no more."""
    store = Store()
    key = ("ns", "support", "v1")
    for n, seconds in ((1, 30), (2, 60), (3, 90)):
        store.runs.upsert(parked(n, 10 + n, seconds), str(10 + n))
    assert due(store, 30) == 1
    store.runs.upsert(change(RUNNING, uid="u2", name="run-2", resource_version=20), "20")
    assert store.runs.timers.next_at(key) == NOW + timedelta(seconds=90)
    assert store.runs.timers.next_at(("ns", "support", "v2")) is None


def test_a_decision_is_due_for_the_run_that_waits_for_it() -> None:
    """An accepted decision on what a parked run asks for makes it due; one not judged, or seen, does not."""
    store, asks = Store(), Wait(id="a", kind="Approval", hash="a" * 64)
    run = change(parked(1, 10), waiting_for=(asks,))
    made = ApprovalRecord(
        uid="a1", namespace=run.namespace, name="yes", resource_version=11, generation=1, created_at=NOW, run=run.name,
        run_uid=run.uid, hash=asks.hash, decision="approved", approver="ann", via="", comment="", phase=None, reason="",
    )  # fmt: skip
    store.runs.upsert(run, "10")
    store.approvals.upsert(made, "11")
    assert due(store, 0) == 0
    store.approvals.upsert(change(made, phase="Accepted", resource_version=12), "12")
    assert due(store, 0) == 1
    store.runs.upsert(change(run, decisions_seen=(asks.hash,), resource_version=13), "13")
    assert due(store, 0) == 0


def test_runs_asleep_are_confirmed_until_one_is_awake() -> None:
    """A LIST that found every run asleep holds as long as no run of the version is seen awake after it."""
    store = Store()
    store.versions.put(a_record())
    run = change(parked(1, 10), namespace=NAMESPACE, fleet=FLEET)
    store.runs.upsert(run, "10")
    assert not store.confirmed_asleep("v1-uid")
    store.confirm_asleep("v1-uid", 20)
    store.runs.upsert(change(run, resource_version=21), "21")
    assert store.confirmed_asleep("v1-uid")
    store.runs.upsert(change(run, phase="Running", pod_uid="p", resource_version=22), "22")
    assert not store.confirmed_asleep("v1-uid")
    store.runs.upsert(change(run, resource_version=23), "23")
    assert not store.confirmed_asleep("v1-uid")
