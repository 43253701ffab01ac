"""Carrying plans out: preconditions, refusals, lost answers."""

import asyncio
from itertools import pairwise

import pytest

from pinfleet_operator.errors import Conflict, Forbidden, Rejected, Unavailable
from tests.sim.loop import run_virtual
from tests.unit.operator.bench import FLEET, KEY, NAMESPACE, Bench, template


async def served(**spec: object) -> Bench:
    """A bench whose version v1 is active."""
    bench = Bench()
    bench.apply(version="v1", **spec)
    await bench.settle()
    return bench


async def with_candidate() -> Bench:
    """The same with v2 one pass before the switch."""
    bench = await served()
    bench.apply(version="v2", template=template("v2"))
    for _ in range(3):
        await bench.once()
    bench.kubelet()
    return bench


def test_a_pod_belongs_to_its_version_and_carries_its_template() -> None:
    """Pods are made from the stored template alone, owned by the AgentVersion."""

    async def main() -> None:
        bench = await served()
        pod = bench.server.read("pods", NAMESPACE, "support-v1-0")
        version = bench.server.read("agentversions", NAMESPACE, "support.v1")
        owners = [(each["kind"], each["uid"], each["controller"]) for each in pod["metadata"]["ownerReferences"]]
        assert owners == [("AgentVersion", version["metadata"]["uid"], True)]
        assert pod["spec"]["containers"] == version["spec"]["template"]["spec"]["containers"]
        assert "ownerReferences" not in version["metadata"]

    run_virtual(main())


@pytest.mark.parametrize("refusal", [Forbidden("exceeded quota: pods=5"), Rejected("admission webhook: no")])
def test_a_refused_pod_is_said_and_tried_again_later(refusal: Exception) -> None:
    """Refusals back off and are visible; when the quota is lifted the fleet goes on by itself."""

    async def main() -> None:
        bench = Bench()
        tries = []

        def refuse(verb: str, plural: str) -> Exception | None:
            if (verb, plural) != ("create", "pods"):
                return None
            tries.append(bench.now())
            return refusal

        bench.kube.refuse = refuse
        bench.apply(version="v1", replicas=3)
        await bench.settle()
        assert len(tries) == 1  # one is enough to know about all three
        stalled = bench.condition("Stalled")
        assert stalled is not None
        assert (stalled["reason"], str(refusal) in stalled["message"]) == ("PodsRefused", True)
        assert bench.versions() == {"v1": "Failed"}
        for _ in range(5):
            again = await bench.once()
            assert again is not None
            await _later(again)
            await bench.once()
        gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(tries)]
        assert gaps == sorted(gaps)
        assert gaps[0] >= 10
        bench.kube.refuse = lambda _verb, _plural: None
        await _later(300)
        await bench.settle()
        assert (bench.versions(), bench.condition("Stalled")) == ({"v1": "Active"}, None)

    run_virtual(main())


def test_a_strangers_pod_under_our_name_is_said() -> None:
    """A pod that somebody else made under a version's name is neither taken over nor overwritten."""

    async def main() -> None:
        bench = Bench()
        bench.server.create("pods", NAMESPACE, {"metadata": {"name": "support-v1-0"}})
        bench.apply(version="v1")
        await bench.settle()
        stalled = bench.condition("Stalled")
        assert stalled is not None
        assert "another pod has that name" in stalled["message"]

    run_virtual(main())


def test_our_own_pod_that_the_watch_has_not_shown_is_taken() -> None:
    """AlreadyExists after a lost answer is no refusal."""

    async def main() -> None:
        bench = Bench()
        lose = {"pods"}

        async def passes(count: int) -> None:
            for _ in range(count):
                try:
                    await bench.reconciler.once(KEY)
                except Unavailable:
                    lose.clear()

        create = bench.kube.create

        async def creating(resource, namespace, body, *, dry_run=False):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            answer = await create(resource, namespace, body, dry_run=dry_run)
            if resource.plural in lose and not dry_run:
                raise Unavailable("the answer was lost")
            return answer

        bench.kube.create = creating  # type: ignore[method-assign]
        bench.apply(version="v1")
        await passes(4)
        assert bench.names("pods") == ["support-v1-0"]
        assert [pod.name for pod in bench.store.pods.all()] == ["support-v1-0"]

    run_virtual(main())


def test_a_promote_with_a_lost_answer_keeps_pinning_closed_until_it_is_known() -> None:
    """Rule 3: the answer is lost and the GET after it too; no run is pinned by the old view meanwhile."""

    async def main() -> None:
        bench = await with_candidate()
        lost = Unavailable("the answer was lost")
        bench.kube.lose_reply_of = lambda _verb, plural: lost if plural == "agentdeployments/status" else None
        get = bench.kube.get

        async def no_get(*_: object) -> bytes:
            if bench.status()["activeVersion"] == "v2":
                raise Unavailable("no answer")
            return await get(*_)  # type: ignore[arg-type]

        bench.kube.get = no_get  # type: ignore[method-assign,assignment]
        with pytest.raises(Unavailable):
            await bench.once()
        assert (bench.status()["activeVersion"], bench.store.may_pin(KEY)) == ("v2", False)
        bench.kube.get = get  # type: ignore[method-assign]
        bench.kube.lose_reply_of = lambda _verb, _plural: None
        await bench.once()
        assert (bench.store.may_pin(KEY), bench.store.catalog[KEY].active_version) == (True, "v2")

    run_virtual(main())


def test_a_promote_whose_answer_alone_is_lost_is_known_by_a_get() -> None:
    """Rule 3: a consistent GET that shows the switch opens pinning with the new version."""

    async def main() -> None:
        bench = await with_candidate()
        bench.kube.lose_reply_of = lambda _v, plural: (
            Unavailable("lost") if plural == "agentdeployments/status" else None
        )
        await bench.once()
        assert (bench.store.may_pin(KEY), bench.store.catalog[KEY].active_version) == (True, "v2")

    run_virtual(main())


def test_a_promote_that_may_still_arrive_keeps_pinning_closed() -> None:
    """Rule 3: a GET that does not show the switch proves nothing while the request may be under way."""

    async def main() -> None:
        bench = await with_candidate()
        bench.kube.refuse = lambda _v, plural: Unavailable("lost") if plural == "agentdeployments/status" else None
        with pytest.raises(Unavailable):
            await bench.once()
        assert not bench.store.may_pin(KEY)
        for pod in bench.server.all("pods"):
            if pod["metadata"]["name"].startswith("support-v2"):
                bench.set_pod(pod["metadata"]["name"], ready=False)
        bench.kube.refuse = lambda _v, _p: None
        with pytest.raises(Unavailable, match="still arrive"):
            await bench.once()  # no switch now, and nothing else to write
        assert not bench.store.may_pin(KEY)
        bench.server.patch("agentdeployments", NAMESPACE, FLEET, {"metadata": {"labels": {"a": "b"}}}, None)
        await bench.once()  # the late request would now meet another resourceVersion
        assert (bench.store.may_pin(KEY), bench.store.catalog[KEY].active_version) == (True, "v1")

    run_virtual(main())


@pytest.mark.parametrize("step", ["patch pods", "delete pods"])
@pytest.mark.case("draining: the watch is late")
def test_a_pod_that_changed_is_not_removed(step: str) -> None:
    """Rule 8: cordon and delete name the resourceVersion that they were decided on; a pass on stale sight fails."""

    async def main() -> None:
        bench = await served()
        bench.apply(version="v2", template=template("v2"))
        while bench.versions() != {"v2": "Active", "v1": "Draining"}:
            await bench.once()
            bench.kubelet()
        moved: list[object] = []

        def move_first(verb: str, plural: str) -> None:
            if f"{verb} {plural}" == step and not moved:
                labels = {"metadata": {"labels": {"moved": "on"}}}
                moved.append(bench.server.patch("pods", NAMESPACE, "support-v1-0", labels, None))

        bench.kube.refuse = move_first
        with pytest.raises(Conflict):
            await _passes(bench, 10)
        assert "deletionTimestamp" not in bench.server.read("pods", NAMESPACE, "support-v1-0")["metadata"]
        await bench.settle()
        assert bench.names("pods") == ["support-v2-0"]

    run_virtual(main())


@pytest.mark.case("draining: a run comes between counting and scaling down")
def test_a_list_that_still_shows_open_runs_confirms_nothing() -> None:
    """Rule 7: the store says zero, the consistent LIST does not; the version keeps its pods."""

    async def main() -> None:
        bench = await served()
        bench.apply(version="v2", template=template("v2"))
        while bench.status().get("activeVersion") != "v2":
            await bench.once()
            bench.kubelet()
        spec = {"task": {"agentDeployment": FLEET, "input": 1}}
        bench.server.create("agentruns", NAMESPACE, {"metadata": {"name": "late"}, "spec": spec})
        bench.server.patch("agentruns", NAMESPACE, "late", {"status": {"phase": "Running", "version": "v1"}}, "status")
        with pytest.raises(Conflict, match="1 runs are open"):
            await bench.reconciler.once(KEY)  # the watch has not told the store
        assert "support-v1-0" in bench.names("pods")
        await bench.settle()
        assert bench.versions() == {"v2": "Active", "v1": "Draining"}

    run_virtual(main())


def test_an_assignment_of_unknown_outcome_holds_back_the_count_and_no_other_fleet() -> None:
    """Rule 7: the pass waits for what is in flight, and gives its worker back after a few seconds."""

    async def main() -> None:
        bench = await served()
        bench.apply(version="v2", template=template("v2"))
        while bench.status().get("activeVersion") != "v2":
            await bench.once()
            bench.kubelet()
        token = bench.store.flights.begin((NAMESPACE, FLEET, "v1"), "pod", "run")
        began = bench.now()
        with pytest.raises(Unavailable, match="outcome of an assignment is unknown"):
            await bench.once()
        assert (bench.now() - began).total_seconds() == pytest.approx(5, abs=0.1)
        assert "support-v1-0" in bench.names("pods")
        await bench.store.flights.end(token)
        await bench.settle()
        assert bench.versions() == {"v2": "Active", "v1": "Retired"}

    run_virtual(main())


async def _later(seconds: float) -> None:
    """Let virtual time pass."""
    await asyncio.sleep(seconds)


async def _passes(bench: Bench, count: int) -> None:
    """So many passes."""
    for _ in range(count):
        await bench.once()
