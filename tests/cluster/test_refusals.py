"""What the stand-in kubelet refuses, by the name of the field."""

from typing import Any

import pytest

from localcluster.kubelet.refusals import refusals


def _agent(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "agent"} | fields]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (_agent(), []),
        (_agent(securityContext={"runAsUser": 1}, resources={"limits": {"cpu": "1"}}), []),
        (_agent() | {"hostNetwork": False}, []),
        (_agent() | {"hostPID": True}, ["spec.hostPID"]),
        (_agent() | {"readinessGates": [{"conditionType": "x"}]}, ["spec.readinessGates"]),
        (_agent() | {"activeDeadlineSeconds": 5}, ["spec.activeDeadlineSeconds"]),
        (_agent() | {"initContainers": [{"restartPolicy": "Always"}]}, ["spec.initContainers[0].restartPolicy"]),
        (_agent() | {"volumes": [{"name": "v", "csi": {}}]}, ["spec.volumes[0].csi"]),
        (
            _agent() | {"volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {}}]}}]},
            ["spec.volumes[0].projected.sources[0].clusterTrustBundle"],
        ),
        (
            _agent() | {"volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "x", "resourceFieldRef": {}}]}}]},
            ["spec.volumes[0].downwardAPI.items[0].resourceFieldRef"],
        ),
        (
            _agent(env=[{"name": "A", "valueFrom": {"resourceFieldRef": {}}}]),
            ["spec.containers[0].env[0].valueFrom.resourceFieldRef"],
        ),
        (_agent(ports=[{"containerPort": 1, "hostPort": 1}]), ["spec.containers[0].ports[0].hostPort"]),
        (_agent(livenessProbe={"grpc": {}}), ["spec.containers[0].livenessProbe.grpc"]),
        (_agent(lifecycle={"postStart": {}}), ["spec.containers[0].lifecycle.postStart"]),
        (_agent(lifecycle={"preStop": {"sleep": {}}}), ["spec.containers[0].lifecycle.preStop.sleep"]),
        (_agent(lifecycle={"preStop": {"exec": {}}}), []),
        (
            _agent(volumeMounts=[{"name": "v", "mountPath": "/m", "subPathExpr": "$(A)"}]),
            ["spec.containers[0].volumeMounts[0].subPathExpr"],
        ),
    ],
)
def test_refusals(spec: dict[str, Any], expected: list[str]) -> None:
    """A field that this kubelet cannot honour is named; what is harmless to ignore is not."""
    assert refusals(spec) == expected
