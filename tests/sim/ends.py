"""What must hold at the end of a schedule, once whatever was broken works again; each returns what does not.

Callers: ``chaos``, in the order of `ask`, and tests that break one of them.
"""

import asyncio
from typing import Final

from tests.sim.server import Json
from tests.sim.world import NAMESPACE, World

QUIET_SECONDS, RESTLESS = 60.0, 10  # without a write for so long it is at rest; at the latest in the tenth such time
HEAL_SECONDS = 6_000.0  # pods that fail one after the other are waited for, 300 s each
MOST_CHANGES = 2_000  # until all is well again; some dozens are usual
OBEY_SECONDS = 200.0
FRESH_SECONDS = 30.0
SERVED_SECONDS = 400.0  # pods that fail one after the other are waited for, up to 300 s
GONE_SECONDS = 400.0  # a deletion that no watch tells of is seen by the resync
KINDS: Final = ("agentdeployments", "agentversions", "pods")


async def ask(world: World) -> list[str]:
    """Everything but what a history shows and `goodbye`, which ends the fleet."""
    found = await obeys(world)
    await heal(world)
    found += await comes_to_rest(world)
    found += as_asked(world)
    found += await knows_no_history(world)
    found += await serves(world)
    await world.until(lambda: not left_over(world), FRESH_SECONDS)  # the canary is acked
    return found + left_over(world) + died(world)


async def obeys(world: World) -> list[str]:
    """Rule 10: whoever was told to end, ends, whatever his code does; one without a pod waits for one to end it."""

    def disobedient() -> list[str]:
        told = [run for run in world.server.all("agentruns") if run["spec"].get("cancel")]
        names = {run["metadata"]["name"] for run in told if _is_held(world, run)} & set(world.open_runs())
        return sorted(names)

    await world.until(lambda: not disobedient(), OBEY_SECONDS, step_seconds=1.0)
    return [f"cancel: run {name} goes on" for name in disobedient()]


def _is_held(world: World, run: Json) -> bool:
    """Whether the process that it was sent to lives; one that started in its place holds nothing of it."""
    status = run.get("status", {})
    pod = world.kubelet.processes.get(status.get("podUID", ""))
    return pod is not None and pod.is_alive and pod.boot == status.get("boot")


async def heal(world: World) -> None:
    """Wait until every run has ended, but not through all of a hot loop's writes."""
    most = world.server.resource_version + MOST_CHANGES
    await world.until(
        lambda: not world.open_runs() or world.server.resource_version > most, HEAL_SECONDS, step_seconds=2.0
    )


async def comes_to_rest(world: World) -> list[str]:
    """INV-8: in the end nothing is written any more."""
    last: list[str] = []
    for _ in range(RESTLESS):
        since = world.now()
        await asyncio.sleep(QUIET_SECONDS)
        last = [str(w) for each in world.operators for w in each.kube.writes if w.at >= since]
        if not last:
            return []
    return [f"INV-8: after {RESTLESS * QUIET_SECONDS:.0f} s there are still writes: {last[:3]}"]


def as_asked(world: World) -> list[str]:
    """INV-11: whatever came before, the version that the spec asks for is the active one."""
    wanted, active = world.spec()["version"], world.fleet().get("activeVersion")
    return [] if wanted == active else [f"INV-11: the spec asks for {wanted}, active is {active}"]


async def knows_no_history(world: World) -> list[str]:
    """INV-12: a process that has seen nothing of what came before finds nothing to change."""
    before = world.server.resource_version
    await world.replace_operator()
    await asyncio.sleep(FRESH_SECONDS)
    changes = [change for change in world.server.history if change[0] > before]
    return [f"INV-12: a new process changed {verb} {plural} {item['metadata']['name']}"
            for _, plural, verb, item in changes[:3]]  # fmt: skip


async def serves(world: World) -> list[str]:
    """INV-18: whatever else is broken, a new run of a good fleet is served."""
    world.start("canary", steps=1, seconds=0.05)
    is_served = await world.until(lambda: world.run("canary").get("phase") == "Succeeded", SERVED_SECONDS)
    return [] if is_served else [f"INV-18: a new run is not served: {world.run('canary')}"]


def left_over(world: World) -> list[str]:
    """What pods still hold: nothing may go on for a run that is over."""
    found = []
    for pod in world.kubelet.processes.values():
        runs = [each.uid for each in pod.machine.state(0, "").runs] if pod.is_alive else []
        if runs:
            found.append(f"left over: pod {pod.plan.uid} still lists {runs}")
    return found


def died(world: World) -> list[str]:
    """No operator ends by a mistake of its own."""
    return [f"died: {each.identity}: {each.error!r}" for each in world.operators if not each.ended_well]


async def goodbye(world: World) -> list[str]:
    """INV-9: fleets that are deleted leave no version and no pod."""
    server = world.server
    for fleet in server.all("agentdeployments"):
        server.delete("agentdeployments", NAMESPACE, fleet["metadata"]["name"], None, None)
    await world.until(lambda: not any(server.all(kind) for kind in KINDS), GONE_SECONDS, step_seconds=1.0)
    return [f"INV-9: {kind} {each['metadata']['name']} is left" for kind in KINDS for each in server.all(kind)]
