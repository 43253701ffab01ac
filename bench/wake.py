"""`wake`: from a message to the body of the step that it brings about, with a pod that is there and from no pod at all.

Real pods of the local cluster, whose agents wait for messages. What no operator can be faster than is a bare pod of the
same template, from its creation until it is Ready; the two alternate.
"""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.admin import MERGE, Json
from bench.measure import wait_for
from bench.report import Row, percentile, save
from bench.world import World, runs_path
from tests.integration.fleet import Fleet

NAMESPACE, RUN = "wake", "talker"
WARM_LIMIT_SECONDS, COLD_EXTRA_SECONDS = 0.1, 0.3
POLL_SECONDS = 0.005
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


class Talk:
    """One run, and the messages that it was sent."""

    def __init__(self, world: World, fleet: Fleet) -> None:
        self._world, self._fleet, self._sent = world, fleet, list[Json]()

    def rests(self) -> bool:
        """Whether it is parked, and has seen every message."""
        status = self._world.admin.ask("GET", runs_path(NAMESPACE, RUN)).get("status", {})
        return bool(status.get("phase") == "Parked" and status.get("messagesSeen", 0) == len(self._sent))

    def wake(self) -> float:
        """Send a message; seconds from its PATCH until the next step's body began."""
        self._sent.append({"id": f"m{len(self._sent)}", "body": {"cents": len(self._sent)}})
        began = time.time()
        self._world.admin.ask("PATCH", runs_path(NAMESPACE, RUN), {"spec": {"messages": self._sent}}, MERGE)
        _soon("the step", lambda: len(self._fleet.traced(RUN)) == len(self._sent))
        return self._fleet.traced(RUN)[-1].at - began


def warm(talk: Talk, times: int) -> list[float]:
    """Wakes with a pod that is there."""
    found = list[float]()
    for _ in range(times):
        _soon("the run to rest", talk.rests)
        found.append(talk.wake())
    return found


def cold(talk: Talk, fleet: Fleet) -> float:
    """One wake of a version that has no pods."""
    wait_for("the version to have no pods", lambda: talk.rests() and _is_dormant(fleet), 120)
    return talk.wake()


def bare(world: World, template: Json, number: int) -> float:
    """A pod of the same template, from its creation until it is Ready."""
    name = f"bare-{number}"
    pod: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template}
    began = time.time()
    world.admin.ask("POST", PODS, pod)
    _soon("the bare pod to be Ready", lambda: _is_ready(world.admin.ask("GET", f"{PODS}/{name}")))
    taken = time.time() - began
    world.admin.ask("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
    return taken


def main(world: World) -> bool:
    """Run the bench; returns whether both goals are met."""
    times, pairs = int(os.environ.get("BENCH_WAKES", "200")), int(os.environ.get("BENCH_PAIRS", "5"))
    fleet = Fleet(world.stage, NAMESPACE, "people")
    with world.operator():
        fleet.deploy("v1", image="registry.local/people:v1")
        fleet.wait_active("v1", 120)
        fleet.start(RUN, messages=250, asks=False)
        talk = Talk(world, fleet)
        warmed = warm(talk, times)
        template = _template(fleet)
        fleet.deploy("v2", image="registry.local/people:v1")
        fleet.wait_active("v2", 120)
        both = [(cold(talk, fleet), bare(world, template, number)) for number in range(pairs)]
    rows = _rows(warmed, both)
    units: list[dict[str, Any]] = [{"who": "warm", "seconds": warmed}, {"who": "cold, bare", "seconds": both}]
    save("wake", rows, world.facts(), units)
    return all(row.met is not False for row in rows)


def _rows(warmed: list[float], both: list[tuple[float, float]]) -> list[Row]:
    p99 = percentile(warmed, 0.99)
    ours, rival = median(ours for ours, _ in both), median(rival for _, rival in both)
    size, pairs = f"{len(warmed)} messages", f"{len(both)} pairs"
    limit, most = 1000 * WARM_LIMIT_SECONDS, rival + COLD_EXTRA_SECONDS
    return [
        Row("message to step, warm pod, p50", 1000 * percentile(warmed, 0.5), "ms", n=size),
        Row("message to step, warm pod, p99", 1000 * p99, "ms", limit, p99 / WARM_LIMIT_SECONDS, f"<= {limit:g} ms",
            p99 <= WARM_LIMIT_SECONDS, size),
        Row("message to step, no pod, median", 1000 * ours, "ms", 1000 * rival, ours / rival,
            f"<= a bare pod's + {1000 * COLD_EXTRA_SECONDS:g} ms", ours <= most, pairs),
    ]  # fmt: skip


def _template(fleet: Fleet) -> Json:
    """The spec of the fleet's own pod, for a pod that the operator does not know."""
    spec: Json = fleet.pods("v1")[0]["spec"]
    return {key: value for key, value in spec.items() if key not in {"nodeName", "hostname"}}


def _is_dormant(fleet: Fleet) -> bool:
    return fleet.version("v1").get("phase") == "Dormant" and not fleet.pods("v1")


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _soon(what: str, is_so: Callable[[], bool]) -> None:
    wait_for(what, is_so, 60, pause=POLL_SECONDS)
