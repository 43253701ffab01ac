"""A handful of the fault plans, each of another fault; `make faults` plays them all."""

import asyncio
import os

import pytest

from hack.stage import Stage
from tests.faults.admin import Admin
from tests.faults.all_plans import drawn
from tests.faults.plans import generate
from tests.faults.play import Theatre
from tests.faults.reference import Reference
from tests.integration.recorder import Recorder

pytestmark = pytest.mark.cluster

SAMPLE = 4


async def test_after_any_fault_the_fleet_ends_as_undisturbed(stage: Stage, recorder: Recorder) -> None:
    """Phases, versions, steps, results and pods are those of the undisturbed run; then no write, and an empty plan."""
    reference = Reference.read()
    plans = [None, *drawn(generate(reference.calls), SAMPLE, os.environ.get("SEED", "1"))]
    async with Admin(stage.cluster) as admin:
        theatre = Theatre(stage, recorder, admin)
        played = await asyncio.gather(*(theatre.play(f"faults-{n}", plan, reference) for n, plan in enumerate(plans)))
    assert {each.plan.name if each.plan else "undisturbed": each.faults for each in played if each.faults} == {}
    met = [each.plan.fault for each in played if each.plan and each.has_met]
    assert len(met) >= SAMPLE - 1, "a write that moves with the clock does not come in every run, but most do"
