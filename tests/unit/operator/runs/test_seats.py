"""The index of free slots always names the pod that `place` would choose from all of them."""

import random
from datetime import UTC, datetime

import msgspec
import pytest

from pinfleet.wire import RunListing
from pinfleet_operator.api.child import PodRecord, VersionRecord
from pinfleet_operator.api.mirror import PodMirror
from pinfleet_operator.api.run import RunRecord, decode_run
from pinfleet_operator.runs.place import Seat, place
from pinfleet_operator.runs.seats import Seats
from pinfleet_operator.store import Store

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ("prod", "fleet", "v1")
PODS = tuple(f"pod-{i}" for i in range(4))


def version(resource_version: int, *, runs_per_pod: int = 3) -> VersionRecord:
    """The one version."""
    return VersionRecord(
        uid="version",
        namespace="prod",
        name="fleet.v1",
        resource_version=resource_version,
        created_at=AT,
        deleting=False,
        fleet="fleet",
        fleet_uid="fleet",
        id="v1",
        revision=1,
        spec_hash="",
        port=8080,
        runs_per_pod=runs_per_pod,
        claim_name=None,
        schema_version=1,
        template=msgspec.Raw(b"{}"),
        status=msgspec.Raw(b"{}"),
    )


def pod(uid: str, resource_version: int, *, ready: bool = True) -> PodRecord:
    """A pod of it."""
    return PodRecord(
        uid=uid,
        namespace="prod",
        name=uid,
        resource_version=resource_version,
        created_at=AT,
        fleet="fleet",
        version="v1",
        version_uid="version",
        phase="Running",
        ready=ready,
        ready_since=AT,
        scheduled=True,
        ip="10.0.0.1",
        node="node",
        cordoned=False,
        deleting=False,
        disrupted=False,
        exit_code=None,
        termination_message="",
        waiting_reason="",
        waiting_message="",
    )


def run(uid: str, resource_version: int, pod_uid: str | None) -> RunRecord:
    """A run, on a pod or none."""
    meta = {
        "uid": uid,
        "namespace": "prod",
        "name": uid,
        "resourceVersion": str(resource_version),
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    status = {"phase": "Running", "podUID": pod_uid, "version": "v1"} if pod_uid else {"phase": "Pending"}
    spec = {"task": {"agentDeployment": "fleet"}}
    return decode_run(msgspec.json.encode({"metadata": meta, "spec": spec, "status": status}))


class World:
    """A store to which something happens, and an index over it."""

    def __init__(self, seed: int) -> None:
        self.random, self.store, self.count = random.Random(seed), Store(), 0
        self.seats = Seats(self.store)
        self.tokens: list[object] = []
        self.store.versions.put(version(self.next()))

    def next(self) -> int:
        """A resourceVersion."""
        self.count += 1
        return self.count

    async def step(self) -> None:
        """Something happens to one pod."""
        store, uid, choice = self.store, self.random.choice(PODS), self.random.randrange(9)
        if choice == 0:
            store.pods.put(pod(uid, self.next(), ready=self.random.random() < 0.8))
        elif choice == 1:
            store.pods.remove(pod(uid, self.next()), str(self.count))
        elif choice == 2:
            store.set_mirror(PodMirror(pod_uid=uid, version="v1", boot="b", n=1, capacity=3, answered_at=AT))
        elif choice == 3 and (mirror := store.mirror(uid)) is not None:
            listed = (f"run-{self.random.randrange(9)}" for _ in range(2))
            mirror.runs = {each: RunListing(uid=each, epoch=1, state="running") for each in listed}
            store.slots_changed(uid)  # as Dispatch.on_pod does
        elif choice == 4:
            self.tokens.append(store.flights.begin(KEY, uid, f"run-{self.random.randrange(9)}"))
        elif choice == 5 and self.tokens:
            await store.flights.end(self.tokens.pop())
        elif choice == 6:
            where = uid if self.random.random() < 0.7 else None
            store.runs.upsert(run(f"run-{self.random.randrange(9)}", self.next(), where), str(self.count))
        elif choice == 7:
            self.random.choice([store.close_pod, store.reopen_pod])(uid)
        else:
            store.versions.put(version(self.next(), runs_per_pod=self.random.randrange(1, 4)))

    def all_seats(self) -> list[Seat]:
        """Every pod's seat, read from scratch."""
        store, found = self.store, self.store.versions.get("version")
        assert found is not None
        return [
            Seat(
                each,
                "v1",
                store.mirror(each.uid),
                store.runs_on(each.uid),
                found.runs_per_pod,
                each.uid in store.closed,
            )
            for each in store.pods_of("version")
        ]


@pytest.mark.parametrize("seed", range(20))
async def test_the_index_and_a_reading_from_scratch_agree(seed: int) -> None:
    """After whatever happened, the best seat and the number of free slots are those of the store."""
    world = World(seed)
    for _ in range(150):
        await world.step()
        expected = world.all_seats()
        assert place(world.seats.best(KEY)) == place(expected)
        assert world.seats.free(KEY) == sum(seat.free for seat in expected)
