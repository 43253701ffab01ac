"""Paths are those that the API server serves."""

import pytest

from pinfleet_operator.kube.resources import AGENT_RUNS, LEASES, NAMESPACES, PODS


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("/api/v1/pods", PODS.path()),
        ("/api/v1/namespaces/ns/pods/p", PODS.path("ns", "p")),
        ("/api/v1/namespaces/n", NAMESPACES.path(None, "n")),
        ("/api/v1/namespaces/n", NAMESPACES.path("ignored", "n")),
        ("/apis/pinfleet.dev/v1alpha1/agentruns", AGENT_RUNS.path()),
        ("/apis/pinfleet.dev/v1alpha1/namespaces/ns/agentruns/r/status", AGENT_RUNS.path("ns", "r", "status")),
        ("/apis/coordination.k8s.io/v1/namespaces/ns/leases/l", LEASES.path("ns", "l")),
        ("/api/v1/namespaces/..%2Fx/pods/a%2Fb", PODS.path("../x", "a/b")),
    ],
)
def test_a_path_names_one_object_and_cannot_leave_its_place(expected: str, actual: str) -> None:
    """Names are quoted, whatever they are."""
    assert expected == actual
