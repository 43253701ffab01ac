"""The API's models: the one source of the CRDs, and the reading of fleets and manifests."""

from pinfleet_operator.api.models.agent_approval import AgentApproval
from pinfleet_operator.api.models.agent_deployment import AgentDeployment
from pinfleet_operator.api.models.agent_run import AgentRun
from pinfleet_operator.api.models.agent_version import AgentVersion

__all__ = ["AgentApproval", "AgentDeployment", "AgentRun", "AgentVersion"]
