"""An image that no node can pull."""

from tests.e2e.fleet import RealFleet


def test_an_image_that_cannot_be_pulled(fleet: RealFleet) -> None:
    """The fleet is Stalled with the kubelet's reason; the active version serves on; another spec mends it."""
    fleet.deploy("v1", replicas=1)
    fleet.wait_active("v1", 120)
    fleet.deploy("v2", image="registry.invalid/none:v2", replicas=1)

    def stalled() -> bool:
        found = fleet.condition("Stalled")
        return found.get("status") == "True" and "Image" in found.get("reason", "") + found.get("message", "")

    fleet.stage.wait_for("the fleet to be Stalled by its image", stalled, 180)
    assert "registry.invalid/none:v2" in fleet.condition("Stalled")["message"]
    assert fleet.status()["activeVersion"] == "v1"
    fleet.start("meanwhile", steps=2)
    assert fleet.wait_phase("meanwhile", "Succeeded", seconds=60)["version"] == "v1"
    fleet.deploy("v3", replicas=1)
    fleet.wait_active("v3", 120)
    fleet.stage.wait_for("nothing to be Stalled", lambda: fleet.condition("Stalled").get("status") != "True", 30)
