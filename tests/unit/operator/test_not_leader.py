"""A process that has lost its Lease: what it is about to write ends it, by one error that every loop lets through."""

from dataclasses import dataclass
from typing import Any, cast

import pytest

from pinfleet_operator.api.child import decode_pod
from pinfleet_operator.errors import NotLeader
from pinfleet_operator.lease import Elector
from pinfleet_operator.reconcile import FleetQueue
from pinfleet_operator.runs.dispatch import Dispatch
from tests.fakes.kube import MemoryKube
from tests.fakes.memory import Memory
from tests.sim.api import encoded
from tests.sim.loop import VirtualClock, run_virtual
from tests.unit.operator.bench import KEY, NAMESPACE, Bench


def a_loser() -> Elector:
    """A candidate that is not, or no longer, in a term."""
    kube = MemoryKube(Memory())
    return Elector(kube, namespace="ns", name="lease", identity="me", clock=VirtualClock(), on_lost=lambda: None)


def test_the_guard_raises_what_the_loops_let_through() -> None:
    """The error of the elector is the one of the tree in ``errors``: there is no second class of that name."""

    async def main() -> None:
        with pytest.raises(NotLeader, match="me does not hold"):
            a_loser().guard()

    run_virtual(main())


def test_a_fleet_pass_without_the_lease_ends_the_process() -> None:
    """It is no failure of the fleet, to be tried again after a while."""

    async def main() -> None:
        bench, loser = Bench(), a_loser()
        bench.apply(version="v1")
        bench.kube.refuse = lambda verb, _plural: loser.guard() if verb != "dry-run" else None
        queue = FleetQueue(store=bench.store, settings=bench.settings, once=bench.reconciler.once)
        with pytest.raises(NotLeader):
            await queue.pass_over(KEY)

    run_virtual(main())


@dataclass
class Guarded:
    """Calls to pods that ask the elector first, as the client over HTTP does."""

    loser: Elector

    async def offer(self, *_: object) -> None:
        """Never gets anywhere."""
        self.loser.guard()


def test_an_offer_without_the_lease_ends_the_process() -> None:
    """It is no fault of the pod: its health is left alone, and the run loop hears of it."""

    async def main() -> None:
        bench, loser = Bench(), a_loser()
        bench.apply(version="v1")
        await bench.settle()
        pod = decode_pod(encoded(bench.server.read("pods", NAMESPACE, "support-v1-0")))
        dispatch = Dispatch(
            store=bench.store,
            pods=cast("Any", Guarded(loser)),
            kube=bench.kube,
            clock=VirtualClock(),
            settings=bench.settings,
            raise_transitions=loser.raise_transitions,
        )
        with pytest.raises(NotLeader):
            await dispatch.offer(pod, "run", cast("Any", None))
        mirror = bench.store.mirror(pod.uid)
        assert mirror is not None
        assert mirror.failing_since is None

    run_virtual(main())
