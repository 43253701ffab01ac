"""Reads the store for a run's pass: everything that a decision on one run may look at.

Caller: ``runs.loop``. It decides nothing and writes nothing but hints to ``runs.memory``.
"""

from datetime import datetime, timedelta
from functools import lru_cache

from pinfleet.wire import RunListing
from pinfleet_operator.api.child import PodRecord
from pinfleet_operator.api.mirror import PodMirror
from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.plan.world import Reach
from pinfleet_operator.runs.deaths import Deaths
from pinfleet_operator.runs.ended import EndedRuns
from pinfleet_operator.runs.judge.news import pause_after
from pinfleet_operator.runs.judge.situation import Listed, Situation
from pinfleet_operator.runs.memory import Memory, RunMemory
from pinfleet_operator.runs.place import Seat, place, place_alone
from pinfleet_operator.runs.seats import Seats
from pinfleet_operator.store import Store, VersionKey

LONGEST_OFFER_PAUSE_SECONDS = 30
LONGEST_WAKE_PAUSE_SECONDS = 60


class Situate:
    """Makes a ``Situation`` of one run at a time."""

    def __init__(self, *, store: Store, kube: Kube, memory: Memory, ended: EndedRuns, settings: Settings) -> None:
        self._store, self._kube, self._memory = store, kube, memory
        self._ended, self._settings = ended, settings
        self._keeps_apart = settings.has_rule("17")
        self._seats, self._deaths = Seats(store, has_rule_17=self._keeps_apart), Deaths(store)
        self._deleting_since: dict[str, datetime] = {}  # pod uid -> when its deletion was first seen
        self._listing_pods: dict[str, tuple[str, ...]] = {}  # run uid -> uids of pods that may list it

    def situation(self, uid: str) -> Situation:
        """How things stand with a run."""
        store, memory, now = self._store, self._memory.of(uid), self._kube.server_now()
        run = store.runs.get(uid)
        pod_uid = run.pod_uid if run is not None and run.phase == "Running" else None
        mirror = store.mirror(pod_uid) if pod_uid else None
        listed = self._listed(uid, run)
        own = next((each.listing for each in listed if each.pod_uid == pod_uid), None)
        key = self.version_key(run) if run is not None else None
        can_place = key is not None and self.seat(key, uid, goes_alone=False) is not None
        self._note_loss(uid, run, now, can_place=can_place)
        return Situation(
            uid=uid,
            run=run,
            is_absent=memory.is_absent,
            fleet=store.catalog.get((run.namespace, run.fleet)) if run else None,
            may_pin=run is None or store.may_pin((run.namespace, run.fleet)) or not self._settings.has_rule("3"),
            now=now,
            is_pod_gone=pod_uid is not None and (store.is_gone(pod_uid) or self._hangs(pod_uid, now)),
            pod=(store.pods.get(pod_uid) or store.lost_pods.get(pod_uid)) if pod_uid else None,
            mirror=mirror if mirror is not None and mirror.has_answered else None,
            silent_since=mirror.failing_since if mirror is not None else None,
            is_network_doubtful=bool(memory.told) and Reach(*store.reach()).is_doubtful,
            listed=listed,
            steps_heard=memory.steps,
            told=memory.told,
            offer_refused=memory.offer_refused,
            next_offer_at=next_offer_at(memory),
            above_epoch=memory.above_epoch,
            approvals=store.approvals.of(uid),
            decisions=store.approvals.decisions(run) if run else (),
            next_update_at=next_update_at(memory, run, own),
            next_wake_at=next_wake_at(memory, run) if run is not None and self._is_called(run) else None,
            died_with=self._died_with(run, mirror) if run is not None and pod_uid else None,
            can_place=can_place,
            can_place_alone=can_place and key is not None and self.seat(key, uid, goes_alone=True) is not None,
            lost_since=memory.lost_since,
            reported_at=memory.reported_at,
            is_surplus=run is not None and not run.is_open and self._ended.is_surplus(run),
            settings=self._settings,
        )

    def _is_called(self, run: RunRecord) -> bool:
        return run.messages > run.messages_seen or self._store.approvals.wake(run)

    def note_listing(self, uid: str, pod_uid: str) -> None:
        """A pod's answer was about the run."""
        known = self._listing_pods.get(uid, ())
        if pod_uid not in known:
            self._listing_pods[uid] = _one_of((*known, pod_uid))

    def is_listed(self, uid: str) -> bool:
        """Whether some pod may list the run."""
        return uid in self._listing_pods

    def note_pod(self, pod: PodRecord, *, is_gone: bool) -> None:
        """A pod changed: remember since when its deletion is under way."""
        if is_gone:
            self._deleting_since.pop(pod.uid, None)
        elif pod.deleting:
            self._deleting_since.setdefault(pod.uid, self._kube.server_now())

    def deletion_hangs_at(self, s: Situation) -> datetime | None:
        """When the run's pod will count as gone, unless it goes before (rule 6)."""
        since = self._deleting_since.get(s.pod.uid) if s.pod is not None and not s.is_pod_gone else None
        return None if since is None else since + timedelta(seconds=self._settings.node_lost_seconds)

    def version_key(self, run: RunRecord) -> VersionKey | None:
        """The version that the run is on, or would be pinned to now."""
        fleet = self._store.catalog.get((run.namespace, run.fleet))
        version = run.version or run.requested_version or (fleet.active_version if fleet else None)
        return (run.namespace, run.fleet, version) if version else None

    def seat(self, key: VersionKey, uid: str, *, goes_alone: bool) -> Seat | None:
        """The pod of a version that takes the run now; None: none can."""
        if not goes_alone or not self._keeps_apart:
            return place(self._seats.best(key))
        return None if self._store.has_alone_on_pod(key, besides=uid) else place_alone(self._seats.empty(key))

    def free_slots(self, key: VersionKey, *, alone: bool) -> int:
        """How many runs a version's pods could take now; of those that share no pod one at a time."""
        if not alone:
            return self._seats.free(key)
        return 0 if self.seat(key, "", goes_alone=True) is None else 1

    def pod_heard(self, pod: PodRecord) -> None:
        """What a pod says has changed; for ``Dispatch.on_pod``."""
        self._store.slots_changed(pod.uid)

    def _died_with(self, run: RunRecord, mirror: PodMirror | None) -> int | None:
        has_another_boot = mirror is not None and mirror.has_answered and mirror.boot != run.boot
        return self._deaths.held(run.pod_uid or "", run.boot or "", has_another_boot=has_another_boot)

    def _hangs(self, pod_uid: str, now: datetime) -> bool:
        since = self._deleting_since.get(pod_uid)
        return since is not None and since + timedelta(seconds=self._settings.node_lost_seconds) <= now

    def _listed(self, uid: str, run: RunRecord | None) -> tuple[Listed, ...]:
        pods = self._listing_pods.get(uid)
        if not pods:
            return ()
        found, still, memory = list[Listed](), list[str](), self._memory.of(uid)
        for pod_uid in sorted(pods):
            mirror = self._store.mirror(pod_uid)
            listing = mirror.runs.get(uid) if mirror is not None else None
            if listing is None:
                continue
            still.append(pod_uid)
            if run is None or self._may_speak(pod_uid, run):
                found.append(Listed(pod_uid, listing))
                memory.steps = max(memory.steps, listing.steps)
        if not still:
            del self._listing_pods[uid]
        elif len(still) < len(pods):
            self._listing_pods[uid] = _one_of(tuple(still))
        return tuple(found)

    def _may_speak(self, pod_uid: str, run: RunRecord) -> bool:
        """Whether a pod's word about a run counts: only that of a pod of the run's own version."""
        pod = self._store.pods.get(pod_uid)
        version = self._store.versions.get(pod.version_uid) if pod is not None else None
        if version is None or (version.namespace, version.fleet) != (run.namespace, run.fleet):
            return False  # by its owner, not by its labels, which anybody may change
        return run.version in {None, version.id}

    def _note_loss(self, uid: str, run: RunRecord | None, now: datetime, *, can_place: bool) -> None:
        memory = self._memory.of(uid)
        if run is None or not run.is_open or self._is_on_live_pod(run) or (can_place and run.phase != "Running"):
            memory.lost_since = None
        elif memory.lost_since is None:
            memory.lost_since = now

    def _is_on_live_pod(self, run: RunRecord) -> bool:
        """Whether the pod that holds the run may go on with it; another process in that pod cannot (rule 5)."""
        if run.pod_uid is None or self._store.is_gone(run.pod_uid):
            return False
        mirror = self._store.mirror(run.pod_uid)
        is_other = mirror is not None and mirror.has_answered and mirror.boot != run.boot
        return not (run.phase == "Running" and is_other)


@lru_cache(maxsize=4096)
def _one_of(pods: tuple[str, ...]) -> tuple[str, ...]:
    """The first of equal tuples: a pod lists many runs."""
    return pods


def next_offer_at(memory: RunMemory) -> datetime | None:
    """When a run that its pod accepted, and does not list, is offered once more: at once, then later and later."""
    if memory.offered_at is None or memory.offers <= 1:
        return None
    return memory.offered_at + timedelta(seconds=min(LONGEST_OFFER_PAUSE_SECONDS, 2 ** (memory.offers - 2)))


def next_update_at(memory: RunMemory, run: RunRecord | None, own: RunListing | None) -> datetime | None:
    """When a pod that was sent all that is new, and does not list it as seen, is sent it once more."""
    sent = memory.offered
    if sent is None or run is None or own is None or sent.messages != run.messages:
        return None
    if own.messages_seen >= sent.up_to and sent.decisions.issubset(own.decisions_seen):
        return None
    return pause_after(sent.times, sent.at, LONGEST_OFFER_PAUSE_SECONDS)


def next_wake_at(memory: RunMemory, run: RunRecord) -> datetime | None:
    """When a run that was woken for all that is new, and parked without recording it, is woken once more."""
    woken = memory.woken
    if woken is None or woken.messages != run.messages:
        return None
    return pause_after(woken.times, woken.at, LONGEST_WAKE_PAUSE_SECONDS)
