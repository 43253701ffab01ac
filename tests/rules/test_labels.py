"""Somebody changes a pod's labels by hand: it is the version's pod all the same."""

import pytest

from pinfleet_operator.api import keys
from tests.rules.stage import play, ready_pods
from tests.sim.world import World


@pytest.mark.parametrize("value", ["v9", None], ids=["changed", "removed"])
@pytest.mark.parametrize("label", [keys.LABEL_VERSION, keys.LABEL_FLEET])
def test_a_pod_is_what_its_owner_says(label: str, value: str | None) -> None:
    """Its run goes on and ends where it is, and the label is put back; nothing is started a second time."""

    async def scenario(world: World) -> None:
        world.start("a", steps=20, seconds=1.0)
        await world.until_begun("a", 2)
        pod = world.run("a")["pod"]
        where = next(p["metadata"]["namespace"] for p in world.server.all("pods") if p["metadata"]["name"] == pod)
        before = world.server.read("pods", where, pod)["metadata"]["labels"]
        world.server.patch("pods", where, pod, {"metadata": {"labels": {label: value}}}, None)
        assert await world.until(lambda: world.run("a").get("phase") == "Succeeded", 60)
        assert world.run("a")["epoch"] == 1
        assert world.server.read("pods", where, pod)["metadata"]["labels"] == before
        assert len(ready_pods(world)) == 2

    assert play(scenario, has_faults=False) == []
