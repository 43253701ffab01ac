"""What is asked of a container: one function for each sentence of the contract that shows from outside.

Each leaves the container as it found it, but for the last, which drains it. The order is that of the page
``docs/reference/run-contract.md``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pinfleet.conform.pod import ENDED, Broken, Pod

_ACCEPTED: Final = 202
_SHORT_WAIT: Final = 2
_MOST_SLOTS: Final = 64  # a larger pod is not filled
_IDENTITY: Final = ("protocol", "version", "podUID", "boot")


@dataclass(frozen=True)
class Inputs:
    """What the agent in the container is given.

    Args:
        short: JSON of an input whose run ends by itself within seconds.
        long: JSON of one whose run goes on until it is ended.
    """

    short: Any
    long: Any


def probes(pod: Pod, _: Inputs) -> None:
    """/ping and /ready answer 200 without credentials."""
    bare = {"Authorization": None, "Pinfleet_Pod": None, "Pinfleet_Leader": None}
    pod.expect(pod.call("GET", "/ping", **bare), 200)
    pod.expect(pod.call("GET", "/ready", **bare), 200)


def identity(pod: Pod, _: Inputs) -> None:
    """Every answer says protocol, version, pod uid and boot; the first poll is full."""
    answer = pod.expect(pod.state(), 200, version=pod.version, podUID=pod.uid, protocol=1, full=True)
    boot, capacity, n = answer.body.get("boot"), answer.body.get("capacity"), answer.body.get("n")
    if not isinstance(boot, str) or not boot:
        raise Broken(f"boot must be a text that is random per process start; found {boot!r}")
    if not isinstance(capacity, int) or not isinstance(n, int) or capacity < 1:
        raise Broken(f"capacity and n must be integers, capacity at least 1; found {capacity!r} and {n!r}")
    pod.expect(pod.state(), 200, boot=boot)
    missing = [name for name in _IDENTITY if name not in pod.call("GET", "/state", Authorization=None).body]
    if missing:
        raise Broken(f"a refusal carries the identity too; missing: {missing}")


def credentials(pod: Pod, _: Inputs) -> None:
    """A call without the bearer token, or with another, is 401 unauthorized."""
    pod.expect(pod.call("GET", "/state", Authorization=None), 401, "unauthorized")
    pod.expect(pod.call("GET", "/state", Authorization="Bearer not-it"), 401, "unauthorized")


def other_pod(pod: Pod, inputs: Inputs) -> None:
    """A call that means another pod is 421 wrong_pod, names this pod, and does nothing."""
    run = pod.new_run()
    body = {"name": run, "version": pod.version, "epoch": 1, "attempt": 1, "input": inputs.short}
    body["limits"] = {"maxSteps": 1_000, "activeSecondsLeft": 600.0}
    answer = pod.call("PUT", f"/runs/{run}", body, Pinfleet_Pod="another-pod")
    pod.expect(answer, 421, "wrong_pod", value=pod.uid)
    if pod.listing(run) is not None:
        raise Broken("an offer that meant another pod was taken")


def stale_leader(pod: Pod, _: Inputs) -> None:
    """A leader with a lower number than the highest seen is 409 stale_leader; polls need no leader."""
    pod.leader += 1
    pod.expect(pod.ack(pod.new_run()), 204)
    answer = pod.call("POST", f"/runs/{pod.new_run()}/ack?epoch=1", Pinfleet_Leader=str(pod.leader - 1))
    pod.expect(answer, 409, "stale_leader", value=pod.leader)
    pod.expect(pod.call("GET", "/state", Pinfleet_Leader=None), 200)


def bad_offers(pod: Pod, inputs: Inputs) -> None:
    """An offer that is no offer is 400 bad_request; one for another version is 421 and names this version."""
    pod.expect(pod.call("PUT", f"/runs/{pod.new_run()}", {}), 400, "bad_request")
    pod.expect(pod.call("PUT", f"/runs/{pod.new_run()}", b"{no json"), 400, "bad_request")
    answer = pod.offer(pod.new_run(), inputs.short, version="another-version")
    pod.expect(answer, 421, "wrong_version", value=pod.version)


def accepted(pod: Pod, inputs: Inputs) -> None:
    """An accepted run is listed at its epoch from the answer's n on; fields that are not known are ignored."""
    before = pod.state()
    run = pod.new_run()
    n = pod.accepted(run, inputs.long, notOfThisContract=True)
    changed = pod.state(after=before.body["n"], boot=before.body["boot"])
    if changed.body["n"] < n or run not in {listed["uid"] for listed in changed.body["runs"]}:
        raise Broken(f"n = {n} was answered, and the poll after {before.body['n']} does not list the run")
    if pod.until_running(run).get("epoch") != 1:
        raise Broken("the run is listed at another epoch than offered")
    pod.finish(run)


def repeated(pod: Pod, inputs: Inputs) -> None:
    """The same offer again is 202 and the same run; a lower epoch is 409 stale_epoch; a higher one is adopted."""
    run = pod.new_run()
    pod.accepted(run, inputs.long, epoch=3)
    pod.accepted(run, inputs.long, epoch=3)
    pod.expect(pod.offer(run, inputs.long, epoch=2), 409, "stale_epoch", value=3)
    pod.accepted(run, inputs.long, epoch=4)
    if pod.until_running(run).get("epoch") != 4:  # noqa: PLR2004 - the epoch just offered
        raise Broken("a higher epoch of a held run must be listed once it is accepted")
    pod.finish(run, epoch=4)


def end_and_ack(pod: Pod, inputs: Inputs) -> None:
    """An end is listed with its outcome until it is acked, and then forgotten; an ack again is 204."""
    run = pod.new_run()
    pod.accepted(run, inputs.short)
    ended = pod.until_ended(run)
    if ended["state"] == "succeeded" and "result" not in (ended.get("outcome") or {}):
        raise Broken(f"a succeeded run carries outcome.result, which may be null; found {ended.get('outcome')!r}")
    if ended["state"] == "failed" and not {"type", "message"} <= set((ended.get("outcome") or {}).get("error") or ()):
        raise Broken(f"a failed run carries outcome.error with type and message; found {ended.get('outcome')!r}")
    if pod.listing(run) != ended:
        raise Broken("an end that is not acked must stay listed, unchanged")
    pod.expect(pod.ack(run), 200)
    if pod.listing(run) is not None:
        raise Broken("an acked run is still listed")
    pod.expect(pod.ack(run), 204)


def recorded_end(pod: Pod, inputs: Inputs) -> None:
    """A run whose journal holds its end is answered with that end at a later epoch, and not executed."""
    run = pod.new_run()
    pod.accepted(run, inputs.short)
    first = pod.until_ended(run)
    pod.expect(pod.ack(run), 200)
    pod.accepted(run, inputs.long, epoch=2)
    again = pod.listing(run)
    if again is None or again["state"] != first["state"] or again.get("outcome") != first.get("outcome"):
        raise Broken(f"it ended as {dict(first)}; offered again it is {again and dict(again)}")
    pod.expect(pod.ack(run, epoch=2), 200)


def early_ack(pod: Pod, inputs: Inputs) -> None:
    """An ack of a run that has not ended is 409 still_running."""
    run = pod.new_run()
    pod.accepted(run, inputs.long)
    pod.expect(pod.ack(run), 409, "still_running")
    pod.finish(run)


def cancel(pod: Pod, inputs: Inputs) -> None:
    """A DELETE is 202 at once and the run ends cancelled; of a run that is not held it is 404 unknown_run."""
    pod.expect(pod.end(pod.new_run()), 404, "unknown_run")
    run = pod.new_run()
    pod.accepted(run, inputs.long, epoch=2)
    pod.until_running(run)
    pod.expect(pod.end(run, epoch=1), 409, "stale_epoch")
    if (ended := pod.finish(run, epoch=2))["state"] != "cancelled":
        raise Broken(f"it ended as {dict(ended)}")


def end_without_execution(pod: Pod, inputs: Inputs) -> None:
    """An offer with `end` claims the run and lists the end that it names."""
    run = pod.new_run()
    pod.accepted(run, inputs.long, end="cancel")
    if (ended := pod.until_ended(run))["state"] != "cancelled":
        raise Broken(f"it ended as {dict(ended)}")
    pod.expect(pod.ack(run), 200)


def full(pod: Pod, inputs: Inputs) -> None:
    """A run above the capacity is 429 full, with the capacity; an acked end makes room."""
    capacity = pod.state().body["capacity"]
    if capacity > _MOST_SLOTS:
        raise Broken(f"cannot be tried with a capacity of {capacity}: set PINFLEET_RUNS_PER_POD to 4")
    held = [pod.new_run() for _ in range(capacity)]
    for run in held:
        pod.accepted(run, inputs.long)
    pod.expect(pod.offer(pod.new_run(), inputs.long), 429, "full", value=capacity)
    pod.finish(held[0])
    held[0] = pod.new_run()
    pod.eventually(lambda: pod.offer(held[0], inputs.long).status == _ACCEPTED, "the slot of an acked run to be free")
    for run in held:
        pod.finish(run)


def long_poll(pod: Pod, inputs: Inputs) -> None:
    """A poll without news waits as long as it is told; an end answers it at once."""
    now = pod.state()
    quiet = pod.state(after=now.body["n"], boot=now.body["boot"], wait=_SHORT_WAIT)
    if not _SHORT_WAIT * 0.8 <= quiet.seconds <= _SHORT_WAIT * 2 or quiet.body["runs"]:
        raise Broken(f"a poll with wait={_SHORT_WAIT} and no news was answered after {quiet.seconds:.1f} s")
    run = pod.new_run()
    pod.accepted(run, inputs.long, end="cancel")
    news = pod.state(after=now.body["n"], boot=now.body["boot"], wait=20)
    if news.seconds > _SHORT_WAIT or run not in {listed["uid"] for listed in news.body["runs"]}:
        raise Broken(f"news came after {news.seconds:.1f} s, runs: {news.body['runs']}")
    pod.until_ended(run)
    pod.expect(pod.ack(run), 200)
    pod.expect(pod.state(after=now.body["n"], boot="of-another-process"), 200, full=True)


def drain(pod: Pod, inputs: Inputs) -> None:
    """After /drain: not ready, no offer is taken, and every run is listed as drained at its next boundary."""
    run = pod.new_run()
    pod.accepted(run, inputs.long)
    pod.until_running(run)
    if (answer := pod.call("POST", "/drain")).status not in {200, 202, 204}:
        raise Broken(f"POST /drain was answered {answer.status} {dict(answer.body)}")
    pod.expect(pod.call("GET", "/ready"), 503)
    pod.expect(pod.offer(pod.new_run(), inputs.short), 503, "draining")
    pod.expect(pod.state(), 200, draining=True)
    listed = pod.listing(run)
    if listed is None or listed["state"] not in ENDED | {"running"}:
        raise Broken(f"a run that was held is now {listed}")
    pod.expect(pod.end(run), 202)
    pod.until_ended(run)
    pod.expect(pod.ack(run), 200)


CHECKS: Final[tuple[Callable[[Pod, Inputs], None], ...]] = (
    probes,
    identity,
    credentials,
    other_pod,
    stale_leader,
    bad_offers,
    accepted,
    repeated,
    end_and_ack,
    recorded_end,
    early_ack,
    cancel,
    end_without_execution,
    full,
    long_poll,
    drain,
)
