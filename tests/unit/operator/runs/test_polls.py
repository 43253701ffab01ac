"""When a pod is asked how it is."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pinfleet.wire import PROTOCOL, StateAnswer
from pinfleet_operator.errors import PodUnreachable
from pinfleet_operator.runs.dispatch import Dispatch
from pinfleet_operator.wire import PodTarget
from tests.sim.loop import VirtualClock, run_virtual
from tests.unit.operator.bench import Bench


@dataclass
class Starting:
    """A pod that answers from a moment on."""

    up_at: float
    heard_at: list[float] = field(default_factory=list)

    async def state(self, target: PodTarget, *, after: int, wait_seconds: int, **_: object) -> StateAnswer:
        """Its state, once it is up; then nothing changes."""
        now = asyncio.get_running_loop().time()
        if now < self.up_at:
            raise PodUnreachable("cannot call the pod: connection refused")
        self.heard_at.append(now)
        await asyncio.sleep(wait_seconds)
        return StateAnswer(
            protocol=PROTOCOL, version="v1", pod_uid=target.pod_uid, boot="b", n=max(1, after), capacity=10, full=True
        )


def test_a_pod_is_asked_again_when_it_becomes_ready() -> None:
    """A pod that was asked in vain while it started is asked at once when its kubelet calls it Ready."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle(kubelet=False)
        name = bench.names("pods")[0]
        began = asyncio.get_running_loop().time()
        pods = Starting(up_at=began + 2.3)
        dispatch = Dispatch(
            store=bench.store,
            pods=cast("Any", pods),
            kube=bench.kube,
            clock=VirtualClock(),
            settings=bench.settings,
            raise_transitions=cast("Any", None),
        )
        dispatch.start()
        bench.set_pod(name, ready=False)
        await asyncio.sleep(2.4)
        bench.set_pod(name, ready=True)
        await asyncio.sleep(0.1)
        await dispatch.stop()
        assert pods.heard_at[:1] == pytest.approx([began + 2.4], abs=0.01)

    run_virtual(main())
