"""Rules 6, 11, 12 and 13: pods that are silent, outlive a run, get an old address, or know a later epoch."""

import asyncio

import pytest

from tests.rules.stage import names, play, ready_pods
from tests.sim.world import NAMESPACE, World

# 6: a short cut of the network, or of the operator's own network


async def _blip(world: World) -> None:
    world.start("a", steps=8, seconds=4.0)
    await world.until_begun("a", 1)
    uid = world.run("a")["podUID"]
    world.kubelet.cut(uid)
    await asyncio.sleep(25.0)
    world.kubelet.cut(uid, is_cut=False)


async def _cut_off_the_operator(world: World) -> None:
    world.deploy("v1", replicas=4, runsPerPod=2)
    assert await world.until(lambda: len(ready_pods(world)) == 4)
    world.start("a", steps=30, seconds=10.0)
    await world.until_begun("a", 1)
    world.operator.pod_net.is_cut = True
    for pod in world.server.all("pods"):  # and the nodes seem gone to everybody who sits where the operator sits
        world.server.patch("pods", NAMESPACE, pod["metadata"]["name"], {"status": {"conditions": []}})
    await asyncio.sleep(120.0)
    world.operator.pod_net.is_cut = False
    for uid in list(world.kubelet.processes):
        world.kubelet.find_node(uid)
    deleted = [item for _, plural, _, item in world.server.history
               if plural == "pods" and "deletionTimestamp" in item["metadata"]]  # fmt: skip
    assert deleted == []


async def _lose_a_node(world: World) -> None:
    world.start("a", steps=10, seconds=5.0)
    await world.until_begun("a", 2)
    world.kubelet.lose_node(world.run("a")["podUID"])


@pytest.mark.case("protocol: rule 6", "runs: a poll is cut, late, out of order or doubled")
def test_rule_06_a_cut_poll_is_not_a_lost_pod() -> None:
    """A pod that is silent for a while goes on with its runs, and no step begins a second time."""
    assert play(_blip, has_faults=False) == []


@pytest.mark.case("protocol: rule 6")
def test_rule_06_no_pod_is_deleted_where_none_answers() -> None:
    """An operator that reaches no pod at all deletes none."""
    assert play(_cut_off_the_operator, seconds=400, has_faults=False) == []


@pytest.mark.case("runs: two pods believe they own a run")
def test_rule_06_a_run_on_a_lost_node_is_assigned_anew_after_a_while() -> None:
    """A pod whose deletion hangs for nodeLostSeconds counts as gone."""
    assert play(_lose_a_node, seconds=600) == []


def test_rule_06_taken_out_begins_a_step_twice() -> None:
    """Control: an operator that takes a silent pod for a lost one starts the run on another while it still runs."""
    assert "once" in names(play(_blip, operator_off=("6",), has_faults=False))


# 11: a run is deleted by hand


async def _delete_a_running_run(world: World) -> None:
    world.start("a", steps=50, seconds=2.0)
    await world.until_begun("a", 2)
    world.delete_run("a")
    await asyncio.sleep(20.0)
    begun = [each for each in world.record.begun if each.at > world.now() - 15.0]
    assert begun == [], "the run's pod goes on paying"


@pytest.mark.case("protocol: rule 11")
def test_rule_11_a_listed_run_whose_object_is_gone_is_told_to_end() -> None:
    """A run that was deleted by hand stops, and its pod forgets it."""

    async def scenario(world: World) -> None:
        await _delete_a_running_run(world)
        assert [pod.machine.state(0, "").runs for pod in world.kubelet.processes.values()] == [(), ()]

    assert play(scenario) == []


def test_rule_11_taken_out_lets_the_pod_go_on() -> None:
    """Control: nobody tells the pod; its code goes on for a run that does not exist."""
    try:
        play(_delete_a_running_run, operator_off=("11",))
    except AssertionError as err:
        assert "goes on paying" in str(err)  # noqa: PT017 - the control is that the scenario's claim fails
    else:
        raise AssertionError("the rule's absence was not seen")


# 12: an address is given to another pod


async def _reuse_an_address(world: World) -> None:
    world.start("a", steps=3, seconds=1.0)
    await world.until_begun("a", 1)
    uid = world.run("a")["podUID"]
    ip = next(ip for ip, pod in world.kubelet.by_ip.items() if pod.plan.uid == uid)
    other = next(pod for pod in world.kubelet.processes.values() if pod.plan.uid != uid)
    world.kubelet.lost_nodes.add(uid)  # its object stays as it is; its address goes to another pod, on another node
    world.kubelet.processes[uid].kill()
    world.kubelet.by_ip[ip] = other
    await asyncio.sleep(30.0)
    claims = [(claim.pod, claim.status) for claim in world.record.claims if claim.pod != uid]
    assert claims == [], "an offer for one pod was taken by another"
    world.kubelet.vanish(uid)


@pytest.mark.case("protocol: rule 12", "draining: a pod is replaced under the same name")
def test_rule_12_a_pod_that_was_not_meant_takes_nothing() -> None:
    """Offers and polls for a pod whose address another one has change nothing there."""
    assert play(_reuse_an_address) == []


def test_rule_12_taken_out_gives_the_run_to_a_stranger() -> None:
    """Control: without the uid in call and answer, the pod that has the address claims the run for the other."""
    try:
        found = play(_reuse_an_address, operator_off=("12",), pod_off=("pod-uid",))
    except AssertionError as err:
        assert "taken by another" in str(err)  # noqa: PT017 - the control is that the scenario's claim fails
    else:
        assert found != []


# 13: etcd is restored from a backup


async def _restore_the_run(world: World) -> None:
    """The run's object goes back to its first epoch, its journal and its pod are at the third."""
    world.start("a", steps=12, seconds=2.0)
    await world.until_begun("a", 1)
    backup = dict(world.run("a"))
    for epoch in (2, 3):
        world.kubelet.evict(world.run("a")["podUID"])
        assert await world.until(lambda epoch=epoch: world.run("a").get("epoch") == epoch, 90)  # type: ignore[misc]
        await world.until(lambda: len(ready_pods(world)) == 2)
    await world.until_begun("a", 4)
    live = {pod.plan.uid: pod for pod in world.kubelet.processes.values() if pod.is_alive}
    holder = live[world.run("a")["podUID"]]
    await world.operator.crash()
    holder.kill()  # with it goes the one pod that lists the epoch; the journal alone knows it
    checks, world.server.checks = world.server.checks, []
    backup |= {"podUID": "uid-of-long-ago", "pod": "gone"}
    world.server.patch("agentruns", NAMESPACE, "a", {"status": backup}, "status")
    world.server.checks = checks
    world.add_operator(leads=True)


@pytest.mark.case("protocol: rule 13")
def test_rule_13_an_epoch_goes_on_above_the_journals() -> None:
    """A run whose object went back is assigned above the epoch that its journal knows, and ends once."""

    async def scenario(world: World) -> None:
        await _restore_the_run(world)
        assert await world.until(lambda: world.run("a").get("epoch", 0) > 3)

    found = play(scenario)
    # The object's epoch did fall, and names a pod of long ago: that is the accident itself.
    assert names(found) <= {"INV-3", "claim", "leave"}, found


def test_rule_13_taken_out_is_fenced_for_ever() -> None:
    """Control: an operator that does not learn the journal's epoch climbs towards it by single steps, or not at all."""
    assert "ends" in names(play(_restore_the_run, operator_off=("13",), pod_off=("journal-epoch",), seconds=120))
