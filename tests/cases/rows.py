"""The cases that the tests of this project own, in its own words: docs/cases.md is generated from them.

A row is covered by the tests that carry its id in ``@pytest.mark.case``; one that cannot be shown yet names the field
or verb that it waits for. ``hack/cases.py`` refuses a row with neither, a row with both, and a mark without a row.
"""

from dataclasses import dataclass
from typing import Final

INVARIANTS: Final = "Always true"
DRAINING: Final = "Draining and retiring"
RUNS: Final = "Runs and agents"
PROTOCOL: Final = "The run protocol"
MANIFESTS: Final = "Wrong manifests"


@dataclass(frozen=True)
class Row:
    """One case."""

    section: str
    id: str  # an invariant, or what goes wrong; stable, since marks name it
    outcome: str  # what a careful user expects then
    needs: str = ""  # what is not served yet and this case is about; empty: it is served
    is_real: bool = False  # whether one of its tests must run on a real API server


ROWS: Final = (
    # Always true
    Row(INVARIANTS, "INV-1", "A run's pin never changes.", is_real=True),
    Row(INVARIANTS, "INV-2", "Every row of a run in the journal carries its version, or the chain of its migrations."),
    Row(INVARIANTS, "INV-3", "Epochs rise; nothing commits with an older one after a newer one was claimed."),
    Row(INVARIANTS, "INV-4", "A step commits once; its result never changes."),
    Row(INVARIANTS, "INV-5", "A run that is created after a promote returned gets the new version.", is_real=True),
    Row(INVARIANTS, "INV-6", "A version that is retired or deleted has no open run.", is_real=True),
    Row(INVARIANTS, "INV-7", "A version retires within 2 s, and its delay, of its last run's end."),
    Row(INVARIANTS, "INV-8", "What is stable is not written.", is_real=True),
    Row(INVARIANTS, "INV-9", "No orphan is left.", is_real=True),
    Row(INVARIANTS, "INV-10", "One version is active; new runs never go to two."),
    Row(INVARIANTS, "INV-11", "A spec that is taken back leads to the earlier state."),
    Row(INVARIANTS, "INV-12", "The same spec and the same world give the same plan, whatever came before."),
    Row(INVARIANTS, "INV-13", "Generations rise; phases follow their edges.", is_real=True),
    Row(INVARIANTS, "INV-14", "An approval is authorised, not the requester's, and bound to what was asked."),
    Row(INVARIANTS, "INV-15", "Every API write of a run and of a fleet has a reason."),
    Row(INVARIANTS, "INV-16", "An outcome that the journal recorded is the object's; nothing commits after it."),
    Row(INVARIANTS, "INV-17", "No input and no secret is told."),
    Row(INVARIANTS, "INV-18", "One bad object never stalls another."),
    Row(INVARIANTS, "INV-19", "An operator upgrade changes no child."),
    Row(INVARIANTS, "INV-20", "Two operator replicas double no effect.", is_real=True),
    # Draining and retiring
    Row(DRAINING, "draining: the count is unknown", "Nothing is scaled down on what is not known."),
    Row(DRAINING, "draining: a run is pinned while its version drains to zero", "The version's pods come back for it."),
    Row(DRAINING, "draining: a run comes between counting and scaling down",
        "The version keeps its pods: the count is read consistently, after every assignment in flight."),
    Row(DRAINING, "draining: a prune fails",
        "It is tried again ever more rarely; the status keeps it, the log says why."),
    Row(DRAINING, "draining: a candidate is superseded before it was active", "Its pods go, and its record after it."),
    Row(DRAINING, "draining: a fleet is deleted while its pods live",
        "Runs end by its deletePolicy, then all is gone, the version that was active included.", is_real=True),
    Row(DRAINING, "draining: an autoscaler still holds pods that scale to zero", "The autoscaler goes first.",
        needs="an autoscaler as a child of the version; pods follow runs without one"),
    Row(DRAINING, "draining: a scale-down meets a busy pod", "A pod that holds a run is never the one that goes."),
    Row(DRAINING, "draining: the watch is late", "A decision on an old sight changes nothing."),
    Row(DRAINING, "draining: a run outlives every deadline", "It ends as TimedOut, and its version retires."),
    Row(DRAINING, "draining: a version is deleted by hand while its runs are open",
        "The status names the runs that cannot go on; applying the spec again mends it."),
    Row(DRAINING, "draining: a pod is evicted mid-run", "The run goes on elsewhere, uncharged.", is_real=True),
    Row(DRAINING, "draining: nodes are drained over and over", "A long run survives any number of them, uncharged."),
    Row(DRAINING, "draining: SIGKILL mid-run", "The run goes on at the step that was not recorded.", is_real=True),
    Row(DRAINING, "draining: SIGTERM mid-run", "The step under way is recorded, the next is another pod's."),
    Row(DRAINING, "draining: a pod is replaced under the same name", "Another uid is another pod: it gets nothing."),
    Row(DRAINING, "draining: versions are to be moved on by force", "Runs migrate or are held, as asked.",
        needs="spec.drain.policy, spec.drain.deadline"),
    # Runs and agents
    Row(RUNS, "runs: the answer is lost after the offer was accepted",
        "The same epoch is offered again; one execution."),
    Row(RUNS, "runs: an offer is duplicated", "One execution, and every call is answered."),
    Row(RUNS, "runs: a pod accepts and dies at once", "The run goes on elsewhere, as a charged attempt."),
    Row(RUNS, "runs: a poll is cut, late, out of order or doubled", "Nothing turns back and nothing starts twice.",
        is_real=True),
    Row(RUNS, "runs: two pods believe they own a run", "The older one commits nothing more."),
    Row(RUNS, "runs: clocks jump, both ways", "No term, no bound and no timer goes by a clock that jumps."),
    Row(RUNS, "runs: a cancel meets a parked run", "It ends on the object: no pod holds it.", is_real=True),
    Row(RUNS, "runs: a cancel meets an offer", "It ends as soon as it is claimed, and executes nothing."),
    Row(RUNS, "runs: a cancel meets a run that finishes", "What the journal recorded is the outcome."),
    Row(RUNS, "runs: a hung and silent pod passes a limit", "The limit is enforced from outside: the pod goes."),
    Row(RUNS, "runs: an approval comes early, twice, for another request or too late", "None of them counts."),
    Row(RUNS, "runs: a message comes while its run parks, or twice", "It is delivered once."),
    Row(RUNS, "runs: an input at, over and far over its limit", "32 KiB are served; more is Failed, InputTooLarge.",
        is_real=True),
    Row(RUNS, "runs: an input that is no JSON", "It is refused where it comes in, and nothing else notices.",
        is_real=True),
    Row(RUNS, "runs: an input nested deep", "Its run fails and says why; nothing else notices.", is_real=True),
    Row(RUNS, "runs: odd unicode", "It comes back as it was given.", is_real=True),
    Row(RUNS, "runs: the fleet is unknown", "Pending, FleetNotFound; served once the fleet is there.", is_real=True),
    Row(RUNS, "runs: the fleet is paused", "Pending, FleetPaused; what has begun goes on."),
    Row(RUNS, "runs: the whole of a fleet is to stop", "Every pod goes; runs wait.", needs="spec.suspend"),
    Row(RUNS, "runs: an explicit version is unknown or retired", "Failed, VersionNotLive, naming the live ones.",
        is_real=True),
    Row(RUNS, "runs: limits above the fleet's", "Failed, LimitsExceedFleet.", is_real=True),
    Row(RUNS, "runs: a result too large", "Failed, saying how large; the run keeps its place.", is_real=True),
    Row(RUNS, "runs: a result that is not JSON", "Failed, naming the type."),
    Row(RUNS, "runs: a result that looks like a secret", "It is redacted, and the log says so."),
    Row(RUNS, "runs: no journal at the start", "Not ready, nothing is claimed; ready once it answers."),
    Row(RUNS, "runs: no journal in the middle of a step or at its commit", "The step is recorded once it is back."),
    Row(RUNS, "runs: a slow journal", "Everything takes longer, and nothing else."),
    Row(RUNS, "runs: a full journal", "Nothing is lost, and it is usable once there is room."),
    Row(RUNS, "runs: a journal that fails over", "Nothing recorded is lost."),
    Row(RUNS, "runs: 10,000 are created in a burst", "Each gets its turn, in bounded memory, without a hot loop."),
    Row(RUNS, "runs: one that always kills its pod", "Back-off, then Failed with the last error.", is_real=True),
    # The run protocol
    Row(PROTOCOL, "protocol: every call, as the page says it", "Answers and codes are those of the OpenAPI file."),
    Row(PROTOCOL, "protocol: each word of a pod", "It becomes one phase with one reason."),
    *(Row(PROTOCOL, f"protocol: rule {number}", outcome) for number, outcome in (
        (1, "A run stays in work until its pod lists it at its epoch."),
        (2, "An end is listed until its write is confirmed."),
        (3, "No run is pinned while the outcome of a promote is unknown."),
        (4, "A new leader pins by what it has read itself, whatever its watch says."),
        (5, "Another boot of the same pod is a lost pod."),
        (6, "A cut poll is not a lost pod, and where none answers none is deleted."),
        (7, "A count to zero waits for pins in flight."),
        (8, "A leader that slept changes nothing, and a deleted Lease locks nobody out."),
        (9, "Waking is a condition on the object."),
        (10, "The pod is told first; an end that it reports wins."),
        (11, "A listed run whose object is gone is told to end."),
        (12, "A pod that was not meant takes nothing."),
        (13, "An epoch goes on above the journal's."),
        (14, "Progress resets attempts, disruptions are not charged."),
        (15, "A timer that the operator saw due fires."),
        (16, "A lower resourceVersion never replaces a higher."),
        (17, "A death with several runs present charges none; at two a run goes alone."),
    )),
    # Wrong manifests
    *(Row(MANIFESTS, f"manifest: {what}", outcome, is_real=True) for what, outcome in (
        ("no template", "Refused, naming the field."),
        ("an unknown field", "Refused by kubectl, naming the field."),
        ("limits of the wrong type", "Refused, naming the field and the type."),
        ("two containers and none is the agent's", "Accepted=False, saying which name to write."),
        ("a reserved variable", "Accepted=False, saying what to remove."),
        ("a version's name kept while its image changes", "Accepted=False, with a free name; the old version serves."),
        ("a missing claim", "Stalled, ClaimNotFound, saying to create it."),
        ("a quota or Pod Security refuses the pods", "Stalled, PodsRefused, in the server's own words."),
        ("an input of the wrong type", "The run fails, saying what was expected."),
    )),
)  # fmt: skip
