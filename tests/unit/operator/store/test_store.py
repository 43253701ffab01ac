"""The operator's memory: exact counts, newest record, assignments in flight."""

import asyncio
import random

import msgspec
import pytest

from pinfleet_operator.api.child import VersionRecord
from pinfleet_operator.api.fleet import Counts
from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.store import Store
from tests.unit.operator.runs.conftest import NOW, PENDING, POD, RUNNING, listing, mirror

change = msgspec.structs.replace
KEY = ("ns", "support", "v1")
VERSION = VersionRecord(
    uid="version-uid",
    namespace="ns",
    name="support.v1",
    resource_version=2,
    created_at=NOW,
    deleting=False,
    fleet="support",
    fleet_uid="fleet-uid",
    id="v1",
    revision=1,
    spec_hash="sha256-1:00",
    port=8080,
    runs_per_pod=10,
    claim_name=None,
    schema_version=1,
    template=msgspec.Raw(b"{}"),
    status=msgspec.Raw(b"{}"),
)


def run(n: int, rv: int, phase: str = "Running", version: str | None = "v1") -> RunRecord:
    """Run number n at a resourceVersion."""
    return change(
        RUNNING if version else PENDING, uid=f"u{n}", name=f"run-{n}", resource_version=rv, phase=phase, version=version
    )


def recount(runs: dict[str, RunRecord]) -> Counts:
    """The counts of v1 by brute force: the checker of the incremental ones."""
    mine = [r for r in runs.values() if r.version == "v1" and r.is_open]
    oldest = min(mine, key=lambda r: (r.created_at, r.name), default=None)
    phases = [r.phase for r in mine]
    return Counts(
        open=len(mine),
        running=phases.count("Running"),
        parked=phases.count("Parked"),
        pending=phases.count("Pending"),
        held=phases.count("Held"),
        oldest_open_run=oldest.name if oldest else None,
        oldest_open_since=oldest.created_at if oldest else None,
    )


def churn(store: Store, seed: int) -> dict[str, RunRecord]:
    """Random watched changes; returns what a LIST would show."""
    rng, truth = random.Random(seed), dict[str, RunRecord]()
    for rv in range(10, 400):
        n = rng.randrange(30)
        if f"u{n}" in truth and rng.random() < 0.2:
            store.runs.remove(truth.pop(f"u{n}"), str(rv))
            continue
        phase = rng.choice(["Pending", "Running", "Parked", "Held", "Succeeded"])
        changed = run(n, rv, phase, rng.choice(["v1", None]))
        truth[f"u{n}"] = changed
        store.runs.upsert(changed, str(rv))
    return truth


def test_counts_equal_a_list_under_churn() -> None:
    """Whatever came, the counts are those of the objects as watched, and say at which resourceVersion."""
    for seed in range(20):
        store = Store()
        truth = churn(store, seed)

        assert store.counts(*KEY) == recount(truth)
        assert store.unpinned("ns", "support") == sum(1 for r in truth.values() if r.is_open and r.version is None)
        assert store.watched_resource_version == "399"


def test_answers_of_own_writes_do_not_move_the_counts() -> None:
    """Counts at a resourceVersion must not hold what the watch has not shown: an answer ahead of it waits."""
    store = Store()
    store.runs.upsert(run(1, 10, "Pending", None), "10")
    store.runs.put_answer(run(1, 15))
    known = store.runs.get("u1")

    assert known is not None
    assert known.phase == "Running"
    assert (store.counts(*KEY).open, store.unpinned("ns", "support")) == (0, 1)
    store.runs.upsert(run(1, 15), "15")
    assert (store.counts(*KEY).open, store.unpinned("ns", "support")) == (1, 0)


@pytest.mark.case("draining: the watch is late")
def test_a_lower_resource_version_never_replaces_a_higher() -> None:
    """Rule 16: a late echo does not turn the store back; with the rule out it does."""
    for lower_may_replace, phase in ((False, "Running"), (True, "Pending")):
        store = Store(lower_may_replace=lower_may_replace)
        store.runs.upsert(run(1, 10, "Pending", None), "10")
        store.runs.put_answer(run(1, 15))
        store.runs.upsert(run(1, 12, "Pending", None), "12")
        known = store.runs.get("u1")

        assert known is not None
        assert known.phase == phase


def test_a_relist_removes_what_is_gone() -> None:
    """Deletes that a gap in the watch swallowed are found by the list."""
    store, gone = Store(), list[str]()
    store.runs.on_change.append(lambda old, new: gone.append(old.uid) if old is not None and new is None else None)
    store.runs.replace([run(1, 5), run(2, 6)], "6")
    store.runs.replace([run(2, 6), run(3, 9)], "20")

    assert gone == ["u1"]
    assert store.counts(*KEY).open == 2
    assert store.runs.assigned_to("pod-a") == {"u2", "u3"}


def test_slots_taken_are_assigned_on_their_way_or_listed() -> None:
    """A slot is taken from the moment that the write is sent until the pod has forgotten the run."""
    store = Store()
    store.pods.put(POD)
    store.runs.upsert(run(1, 10), "10")
    store.set_mirror(mirror(listing(uid="u1"), listing(uid="u9")))
    store.flights.begin(KEY, "pod-a", "u5")

    assert store.runs_on("pod-a") == 3


async def test_settling_waits_for_flights_of_before_and_no_others() -> None:
    """Rule 7: a count begins after the assignments in flight have settled; later ones do not hold it up."""
    store = Store()
    first = store.flights.begin(KEY, "pod-a", "u1")
    waiting = asyncio.create_task(store.flights.settled(KEY))
    await asyncio.sleep(0)
    later = store.flights.begin(KEY, "pod-a", "u2")

    assert not waiting.done()
    await store.flights.end(first)
    await asyncio.wait_for(waiting, 1)
    await store.flights.end(later)


@pytest.mark.case("draining: a run comes between counting and scaling down")
async def test_a_confirmed_count_of_zero_ends_with_the_next_open_run() -> None:
    """A run found open after the LIST, or an assignment in flight, voids the confirmation."""
    store = Store()
    store.versions.put(VERSION)
    store.runs.upsert(run(1, 10), "10")
    store.runs.upsert(run(1, 20, "Succeeded"), "20")
    store.confirm_empty("version-uid", 25)
    assert store.confirmed_empty("version-uid")

    token = store.flights.begin(KEY, "pod-a", "u2")
    assert not store.confirmed_empty("version-uid")
    await store.flights.end(token)
    store.confirm_empty("version-uid", 26)
    store.runs.upsert(run(2, 30), "30")

    assert not store.confirmed_empty("version-uid")


def test_a_pod_that_is_gone_leaves_its_last_sight() -> None:
    """How it died decides whether its runs are charged, so the last record is kept when the object goes."""
    store = Store()
    store.pods.put(POD)
    store.set_mirror(mirror())
    store.pods.remove(POD, "50")

    assert store.is_gone("pod-a")
    assert store.lost_pods["pod-a"] == POD
    assert store.mirror("pod-a") is None
    store.pods.put(change(POD, resource_version=49))
    assert store.is_gone("pod-a")
