"""A version's Secret: whose token it holds, when it is written, and that nobody else's Secret is touched."""

import asyncio

import pytest

from pinfleet_operator.errors import Forbidden
from tests.sim.loop import run_virtual
from tests.unit.operator.bench import NAMESPACE, Bench, template


async def served() -> Bench:
    """A bench whose version v1 is active."""
    bench = Bench()
    bench.apply(version="v1")
    await bench.settle()
    return bench


def test_the_token_is_the_versions_own_and_goes_with_it() -> None:
    """The Secret holds the HMAC of the version's uid and is owned by the version."""

    async def main() -> None:
        bench = await served()
        secret = bench.server.read("secrets", NAMESPACE, "support.v1.token")
        version = bench.server.read("agentversions", NAMESPACE, "support.v1")
        assert secret["stringData"] == {"token": f"token-of-{version['metadata']['uid']}"}
        assert secret["metadata"]["ownerReferences"][0]["uid"] == version["metadata"]["uid"]

    run_virtual(main())


def test_our_secret_that_exists_is_set_right() -> None:
    """The operator cannot read Secrets: one of ours that is there may be of an earlier version of that name."""

    async def main() -> None:
        bench = Bench()
        meta = {"name": "support.v1.token"}
        stale = {"metadata": meta, "type": "pinfleet.dev/token", "stringData": {"token": "stale"}}
        bench.server.create("secrets", NAMESPACE, stale)
        bench.apply(version="v1")
        await bench.settle()
        stored = bench.server.read("secrets", NAMESPACE, "support.v1.token")["stringData"]
        assert stored["token"].startswith("token-of-")

    run_virtual(main())


def test_a_strangers_secret_under_our_name_is_left_alone_and_said() -> None:
    """It is neither overwritten nor collected with the version; once it is gone the fleet goes on by itself."""

    async def main() -> None:
        bench = Bench()
        foreign = {"metadata": {"name": "support.v1.token"}, "stringData": {"token": "mine"}}
        before = bench.server.create("secrets", NAMESPACE, foreign)
        bench.apply(version="v1")
        await bench.settle()
        assert bench.server.read("secrets", NAMESPACE, "support.v1.token") == before
        assert bench.names("pods") == []
        stalled = bench.condition("Stalled")
        assert stalled is not None
        assert (stalled["reason"], bench.versions()) == ("PodsRefused", {"v1": "Failed"})
        assert "rename or delete it" in stalled["message"]
        bench.server.remove("secrets", NAMESPACE, "support.v1.token")
        await asyncio.sleep(300)
        await bench.settle()
        assert (bench.versions(), bench.condition("Stalled")) == ({"v1": "Active"}, None)

    run_virtual(main())


def test_another_operator_key_heals() -> None:
    """Pods that are there get their token under the new key, though none is missing: draining ones too, and once."""

    async def main() -> None:
        bench = await served()
        bench.run("r1", "v1", pod="support-v1-0")
        bench.apply(version="v2", template=template("v2"))
        await bench.settle()
        mirrors = bench.store.mirrors()
        bench.restart(key="new-key")
        for mirror in mirrors:
            bench.store.set_mirror(mirror)
        bench.kube.log.clear()
        await bench.settle()
        for version in ("v1", "v2"):
            uid = bench.server.read("agentversions", NAMESPACE, f"support.{version}")["metadata"]["uid"]
            secret = bench.server.read("secrets", NAMESPACE, f"support.{version}.token")
            assert secret["stringData"] == {"token": f"new-key-{uid}"}
        assert bench.kube.log == ["patch secrets"] * 2

    run_virtual(main())


def test_a_refused_secret_of_live_pods_is_tried_again_later() -> None:
    """A pass that cannot write it waits as for a refused pod; it is no hot loop, and serving goes on."""

    async def main() -> None:
        bench = await served()
        mirrors = bench.store.mirrors()
        bench.restart(key="new-key")
        for mirror in mirrors:
            bench.store.set_mirror(mirror)
        bench.kube.refuse = lambda _verb, plural: Forbidden("no") if plural == "secrets" else None
        assert await bench.once() == 0.0
        assert await bench.once() == pytest.approx(10, abs=0.1)
        assert bench.versions() == {"v1": "Active"}
        bench.kube.refuse = lambda _verb, _plural: None
        await asyncio.sleep(10)
        await bench.once()
        secret = bench.server.read("secrets", NAMESPACE, "support.v1.token")
        assert secret["stringData"]["token"].startswith("new-key-")

    run_virtual(main())
