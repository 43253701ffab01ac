"""The story of the demo with real pods: one upgrade with runs in flight, and a container killed in the middle."""

from tests.e2e.fleet import RealFleet

STEPS = 40


def test_an_upgrade_under_open_runs(fleet: RealFleet) -> None:
    """Runs end on the version that they began on, through a crash; new ones go to the new one; the old leaves."""
    fleet.deploy("v1", replicas=2, runsPerPod=1)
    fleet.wait_active("v1", 120)
    for name in ("a", "b"):
        fleet.start(name, steps=STEPS, seconds=0.5)
        fleet.wait_step(name, 2, 60)
    fleet.deploy("v2", replicas=1, runsPerPod=2)
    fleet.wait_active("v2", 120)
    fleet.start("new", steps=3)
    assert fleet.wait_phase("new", "Succeeded", seconds=60)["result"]["code"] == "v2"
    before = fleet.run("a")
    assert before["version"] == "v1"
    fleet.stage.kill_container(before["podUID"])
    for name in ("a", "b"):
        ended = fleet.wait_phase(name, "Succeeded", seconds=150)
        assert (ended["version"], ended["result"]["code"]) == ("v1", "v1")
        fleet.check_whole(name, STEPS, again=1 if name == "a" else 0)
    assert fleet.run("a")["epoch"] == before["epoch"] + 1
    fleet.stage.wait_for("v1's pods to go", lambda: not fleet.pods("v1"), 60)
    fleet.stage.wait_for("v1 to retire", lambda: fleet.version("v1").get("phase") == "Retired", 30)
