"""Every name that pinfleet writes into or reads from a cluster: labels, reasons, conditions, finalizers, paths.

A literal of these kinds anywhere else is a mistake. Nothing here decides anything.
"""

from typing import Final

GROUP: Final = "pinfleet.dev"
API_VERSION: Final = "pinfleet.dev/v1alpha1"
FIELD_MANAGER: Final = "pinfleet-operator"  # recorded in managedFields for every write of ours

# Labels. The prefix is reserved: a template that sets one is refused (a pod of fleet B must not catch A's runs).
RESERVED_PREFIX: Final = "pinfleet.dev/"
LABEL_FLEET: Final = "pinfleet.dev/fleet"  # name of the AgentDeployment; on versions, pods and secrets
LABEL_FLEET_UID: Final = "pinfleet.dev/fleet-uid"  # its uid; a version whose fleet is gone is found and swept by it
LABEL_VERSION: Final = "pinfleet.dev/version"  # the version's id, such as v2; on versions, pods and secrets
LABEL_CORDONED: Final = "pinfleet.dev/cordoned"  # "true": the pod gets no more runs; set before every removal

FINALIZER: Final = "pinfleet.dev/versions"  # on a fleet while it has versions, so that its runs end first

# Where an agent pod finds things.
TOKEN_DIR: Final = "/var/run/pinfleet/token"  # noqa: S105 - a folder, not a secret
TOKEN_FILE: Final = "/var/run/pinfleet/token/token"  # noqa: S105 - a path, not a secret
STATE_DIR: Final = "/var/lib/pinfleet/state"
STATE_FILE: Final = "/var/lib/pinfleet/state/journal.db"
STATE_URL_FILE: Final = "/var/lib/pinfleet/state/url"  # key url of the Secret that spec.state.postgres names
AGENT_CONTAINER: Final = "agent"  # name of the container that speaks the run protocol, unless there is only one
DEFAULT_PORT: Final = 8080
SECRET_TYPE: Final = "pinfleet.dev/token"  # noqa: S105 - of a version's Secret; the API server lets no type change

# Conditions of a fleet.
READY: Final = "Ready"  # an active version serves; a draining one does not make it unready
RECONCILING: Final = "Reconciling"  # present only while a change is under way
STALLED: Final = "Stalled"  # present only while something needs a person
ACCEPTED: Final = "Accepted"  # the spec can be used; of an approval: the run gets it
PAUSED: Final = "Paused"  # present only while spec.paused: no new pins
DRAINED: Final = "Drained"  # False while an old version still has runs: "done deploying" is Drained=True

# Condition of a run.
SUCCEEDED: Final = "Succeeded"  # Unknown while open, True or False at the end

# Reasons: of conditions, and of a run's status.reason.
FLEET_NOT_FOUND: Final = "FleetNotFound"  # Pending: no AgentDeployment of that name in the namespace
FLEET_PAUSED: Final = "FleetPaused"  # Pending: spec.paused holds back new pins
NO_ACTIVE_VERSION: Final = "NoActiveVersion"  # Pending: the fleet's first version is not ready yet
NO_FREE_SLOT: Final = "NoFreeSlot"  # Pending or due Parked: every pod of its version is full, or none is ready
BACKING_OFF: Final = "BackingOff"  # Pending: its pod died; it is tried again after a while
ASSIGNED: Final = "Assigned"  # Running: a pod holds it, or is being offered it
WAITING: Final = "Waiting"  # Parked: see status.waitingFor
COMPLETED: Final = "Completed"  # Succeeded
AGENT_ERROR: Final = "AgentError"  # Failed: the agent's code raised
STEP_LIMIT: Final = "StepLimit"  # Failed: maxSteps
TOKEN_LIMIT: Final = "TokenLimit"  # noqa: S105 - no secret. Failed: maxTokens
ATTEMPTS_EXHAUSTED: Final = "AttemptsExhausted"  # Failed: its executions kept dying
VERSION_NOT_LIVE: Final = "VersionNotLive"  # Failed: spec.task.version is neither active nor candidate
LIMITS_EXCEED_FLEET: Final = "LimitsExceedFleet"  # Failed: a run may only lower the fleet's limits
INPUT_TOO_DEEP: Final = "InputTooDeep"  # Failed: nested deeper than 200 levels
INPUT_TOO_LARGE: Final = "InputTooLarge"  # Failed: over 32 KiB; large things go by reference
UNFIT_MESSAGE: Final = "UnfitMessage"  # Failed: one of spec.messages is over 16 KiB, or nested deeper than 200 levels
REQUESTER_MISSING: Final = "RequesterMissing"  # Failed: the fleet has approvals.fourEyes, the run no requester
RESULT_REFUSED: Final = "ResultRefused"  # Failed: the API server does not take the result
JOURNAL_UNREACHABLE: Final = "JournalUnreachable"  # ended without asking the journal: no pod could answer
INCOMPATIBLE: Final = "Incompatible"  # Held: its state does not fit this code
CANCELLED: Final = "CancelRequested"  # Cancelled: spec.cancel
FLEET_DELETED: Final = "FleetDeleted"  # Cancelled: the fleet was deleted with deletePolicy Cancel
ACTIVE_SECONDS: Final = "ActiveSeconds"  # TimedOut: wall clock on pods
DEADLINE: Final = "Deadline"  # TimedOut: the absolute deadline
CANCELLING: Final = "Cancelling"  # still Running: the pod was told to end it
POD_UNREACHABLE: Final = "PodUnreachable"  # still Running: its pod does not answer the operator, and may go on with it
OFFER_REFUSED: Final = "OfferRefused"  # still Running: its pod refuses the offer, such as for want of its database
WRITE_REFUSED: Final = "WriteRefused"  # the API server refuses what is to be written; see the message

# Reasons of an approval's status.
DECISION_ACCEPTED: Final = "DecisionAccepted"  # the run gets it
RUN_NOT_FOUND: Final = "RunNotFound"  # no run has that name and uid in the namespace
RUN_ENDED: Final = "RunEnded"  # the run ended before it came, or without asking for it
APPROVER_IS_REQUESTER: Final = "ApproverIsRequester"  # whoever asked for the run cannot approve
EXPIRED: Final = "Expired"  # made after the request's expiry
ALREADY_DECIDED: Final = "AlreadyDecided"  # the request has a decision

TOO_MANY_VERSIONS: Final = "TooManyVersions"  # Accepted=False: old versions still have runs; no further one is made
VERSION_NAME_REUSED: Final = "VersionNameReused"  # Accepted=False: same spec.version, other template
INVALID_TEMPLATE: Final = "InvalidTemplate"  # Accepted=False: the dry run refuses the pod, or a reserved key is set
INVALID_SPEC: Final = "InvalidSpec"  # Accepted=False: the spec does not fit the schema
SPEC_ACCEPTED: Final = "SpecAccepted"
ACTIVE: Final = "Active"  # Ready=True
CANDIDATE_STARTING: Final = "CandidateStarting"  # Reconciling: waits for the candidate's pods
SCALING: Final = "Scaling"  # Reconciling: pods are being added or removed
DRAINING: Final = "Draining"  # Drained=False
ALL_DRAINED: Final = "AllDrained"  # Drained=True
PODS_REFUSED: Final = "PodsRefused"  # Stalled: quota, Pod Security or a webhook refuses the pods
PODS_FAILING: Final = "PodsFailing"  # Stalled: pods start and die, or never get ready
PODS_UNREACHABLE: Final = "PodsUnreachable"  # Stalled: too many pods do not answer to believe it is their fault
CLAIM_NOT_FOUND: Final = "ClaimNotFound"  # Stalled: spec.state.sqlite.claimName does not exist
DELETING: Final = "Deleting"  # the fleet is being deleted
PAUSED_BY_SPEC: Final = "PausedBySpec"  # Paused=True
