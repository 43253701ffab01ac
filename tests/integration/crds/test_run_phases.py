"""Every pair of phases, on a real server: the table of edges is what the API server enforces."""

import itertools
from typing import get_args

import pytest
from tests.integration.crds.server import Api, Json

from pinfleet_operator.api.models.run_rules import EDGES, TERMINAL, RunPhase

pytestmark = pytest.mark.cluster

PHASES: tuple[RunPhase, ...] = get_args(RunPhase)

DESIGNED = {
    "Pending": {"Running", "Held", "Succeeded", "Failed", "Cancelled", "TimedOut"},
    "Running": {"Pending", "Parked", "Held", "Succeeded", "Failed", "Cancelled", "TimedOut"},
    "Parked": {"Running", "Held", "Succeeded", "Failed", "Cancelled", "TimedOut"},
    "Held": {"Pending", "Failed", "Cancelled", "TimedOut"},
}
"""The edges as the design lists them, written down a second time on purpose."""


def _bring_to(api: Api, name: str, phase: str) -> None:
    before = {"Pending": (), "Parked": ("Running", "Parked")}
    path = before.get(phase, (phase,))
    for step in path:
        assert api.merge("AgentRun", name, {"status": {"phase": step, "epoch": 1}}, "status").code == 200


@pytest.mark.parametrize(("old", "new"), tuple(itertools.product(PHASES, PHASES)))
def test_an_edge_is_allowed_or_refused_as_designed(api: Api, control: Api, name: str, old: str, new: str) -> None:
    """A phase follows another only along a declared edge; staying is allowed, and the end is final."""
    assert api.create("AgentRun", name, {"task": {"agentDeployment": "demo"}}).code == 201
    _bring_to(api, name, old)
    patch: Json = {"status": {"phase": new, "epoch": 1 if old == new else 2}}
    if old in TERMINAL and old == new:
        patch = {"status": {"phase": new}}
    answer = api.merge("AgentRun", name, patch, "status")
    if new == old or new in DESIGNED.get(old, set()):
        assert (answer.code, answer.message) == (200, "")
        return
    assert answer.code == 422
    assert f"a run that is {old} cannot become {new}" in answer.message
    assert control.create("AgentRun", name, {"task": {"agentDeployment": "demo"}}).code == 201
    _bring_to(control, name, old)
    assert control.merge("AgentRun", name, patch, "status").code == 200


def test_the_table_is_the_design() -> None:
    """The table in the code and the design list the same edges."""
    assert {phase: set(DESIGNED.get(phase, ())) for phase in PHASES} == {old: set(new) for old, new in EDGES.items()}
