"""The fleet as the run loop sees it. Pure."""

from pinfleet_operator.api.fleet import FleetView, VersionTrouble
from pinfleet_operator.api.models.agent_deployment import AgentDeploymentSpec, FleetLimits
from pinfleet_operator.api.run import Limits
from pinfleet_operator.plan.actions import DropFleet, SetFleet, Steps
from pinfleet_operator.plan.judged import Judged
from pinfleet_operator.plan.roles import Role
from pinfleet_operator.plan.world import World


def fleet_view(world: World, judged: tuple[Judged, ...]) -> FleetView | None:
    """What the run loop needs to know; None: the spec cannot be read, what it knew before stays."""
    fleet = world.fleet
    spec = fleet.spec if fleet is not None else None
    if spec is None and not world.is_ending:
        return None
    spec = spec or AgentDeploymentSpec(template={})
    return FleetView(
        namespace=world.namespace,
        name=world.name,
        uid=fleet.uid if fleet is not None else "",
        active_version=world.active_id,
        candidate_version=next((each.version.id for each in judged if each.role is Role.CANDIDATE), None),
        limits=_limits(spec.limits),
        runs_per_pod=spec.runs_per_pod,
        run_ttl_seconds=spec.run_ttl_seconds,
        ended_runs_limit=spec.ended_runs_limit,
        has_four_eyes=spec.approvals.four_eyes,
        is_paused=spec.paused,
        is_deleting=world.is_ending,
        cancels_runs=world.is_ending and (fleet is None or spec.delete_policy == "Cancel" or world.is_namespace_ending),
        troubles=tuple(
            VersionTrouble(each.version.id, each.trouble.reason, each.trouble.message)
            for each in judged
            if each.trouble is not None
        ),
    )


def view_steps(world: World, judged: tuple[Judged, ...]) -> Steps:
    """Tell the run loop."""
    if world.fleet is None and not world.versions:
        return Steps((DropFleet(),))
    view = fleet_view(world, judged)
    return Steps((SetFleet(view),) if view is not None else ())


def _limits(limits: FleetLimits) -> Limits:
    return Limits(
        max_steps=limits.max_steps,
        active_seconds=limits.active_seconds,
        deadline_seconds=limits.deadline_seconds,
        max_attempts=limits.max_attempts,
        max_tokens=limits.max_tokens,
    )
