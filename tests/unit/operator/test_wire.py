"""The operator believes a pod only as itself, calls it once, and keeps its connections apart from everybody's."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from pinfleet.wire import Offer, OfferLimits
from pinfleet_operator import wire
from pinfleet_operator.api.nesting import VALUE_DEPTH_LIMIT, nests_deeper
from pinfleet_operator.errors import PinfleetError, PodRefused, PodUnreachable
from pinfleet_operator.wire import IDLE_SECONDS, PodClient, PodTarget, token_for
from tests.fakes.clock import StepClock
from tests.fakes.pod import FakePod

KEY = b"operator key"
OFFER = Offer(
    name="run",
    version="v1",
    epoch=3,
    attempt=1,
    limits=OfferLimits(max_steps=10, active_seconds_left=5.5, max_tokens=900),
    input=msgspec.Raw(b'{"a": 1}'),
)
STATE = {
    "n": 7,
    "capacity": 5,
    "full": True,
    "runs": [{"uid": "u", "epoch": 3, "state": "succeeded", "outcome": {"result": {"x": [1]}}}],
}


class NotAllowed(PinfleetError):
    """What the guard of these tests raises."""


class Client(PodClient):
    """A client with a leader that can be unseated."""

    def __init__(self) -> None:
        self.number: int | None = 9
        self.clock = StepClock()
        super().__init__(KEY, leader_number=lambda: self.number, guard=self._check, clock=self.clock, call_seconds=1)

    def _check(self) -> None:
        if self.number is None:
            raise NotAllowed


@pytest.fixture
async def pod() -> AsyncIterator[FakePod]:
    """A pod that answers every call well."""
    async with FakePod(answer={"n": 7}) as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """The client of a leader."""
    async with Client() as made:
        yield made


def target(pod: FakePod) -> PodTarget:
    """Where that pod is."""
    return PodTarget(pod_uid=pod.uid, ip=pod.host, port=pod.port, version_uid="version-uid")


def test_the_token_is_an_hmac_of_the_versions_uid() -> None:
    """Another version's token opens nothing, and none has to be stored."""
    expected = hmac.new(KEY, b"version-uid", hashlib.sha256).hexdigest()
    assert expected == token_for(KEY, "version-uid")
    assert token_for(KEY, "other") != expected != token_for(b"other", "version-uid")


async def test_a_state_is_decoded_with_its_result_left_as_text(pod: FakePod, client: Client) -> None:
    """What an agent returned is carried, not read."""
    pod.answer = STATE
    answer = await client.state(target(pod), after=4, boot="b0", wait_seconds=2)
    assert (answer.n, answer.capacity, answer.full, answer.boot) == (7, 5, True, "b1")
    outcome = answer.runs[0].outcome
    assert outcome is not None
    assert outcome.result is not None
    assert json.loads(bytes(outcome.result)) == {"x": [1]}
    assert pod.seen[0].line == "GET /state?after=4&boot=b0&wait=2"


async def test_every_call_says_which_pod_is_meant_and_who_leads(pod: FakePod, client: Client) -> None:
    """Token, pod uid and leaseTransitions are on each call; the paths are the contract's."""
    pod.answer = {**STATE, "n": 7}
    await client.state(target(pod), after=0, boot="", wait_seconds=0)
    await client.offer(target(pod), "u", OFFER)
    await client.ack(target(pod), "u", 3)
    await client.end(target(pod), "u", 3, "cancel")
    assert [seen.line for seen in pod.seen] == [
        "GET /state?after=0&boot=&wait=0",
        "PUT /runs/u",
        "POST /runs/u/ack?epoch=3",
        "DELETE /runs/u?epoch=3&reason=cancel",
    ]
    for seen in pod.seen:
        assert seen.headers["Authorization"] == f"Bearer {token_for(KEY, 'version-uid')}"
        assert seen.headers["Pinfleet-Pod"] == "pod-1"
        assert seen.headers["Pinfleet-Leader"] == "9"
    assert msgspec.json.decode(pod.seen[1].body, type=Offer) == OFFER


async def test_a_standby_reads_states_without_a_number_and_does_nothing_else(pod: FakePod, client: Client) -> None:
    """Who does not lead sends no offer, ack or end; its reading tells the pod of no leader."""
    client.number = None
    pod.answer = STATE
    await client.state(target(pod), after=0, boot="", wait_seconds=0)
    with pytest.raises(NotAllowed):
        await client.offer(target(pod), "u", OFFER)
    with pytest.raises(NotAllowed):
        await client.ack(target(pod), "u", 3)
    with pytest.raises(NotAllowed):
        await client.end(target(pod), "u", 3, "cancel")
    assert len(pod.seen) == 1
    assert "Pinfleet-Leader" not in pod.seen[0].headers


@pytest.mark.parametrize(
    ("status", "code", "value"),
    [
        (409, "stale_epoch", 5),
        (409, "stale_leader", 12),
        (421, "wrong_version", "v2"),
        (429, "full", 3),
        (503, "draining", None),
    ],
)
async def test_a_refusal_carries_its_code_and_value(
    pod: FakePod, client: Client, status: int, code: str, value: int | str | None
) -> None:
    """What the caller does next hangs on them."""
    pod.status, pod.answer = status, {"code": code, "message": "no", "value": value}
    with pytest.raises(PodRefused) as caught:
        await client.offer(target(pod), "u", OFFER)
    assert (caught.value.status, caught.value.code, caught.value.value) == (status, code, value)


async def test_an_ack_of_a_forgotten_run_is_told_as_unknown(pod: FakePod, client: Client) -> None:
    """Whose first ack's answer was lost learns that there is nothing left to forget."""
    pod.status, pod.answer = 204, b""
    with pytest.raises(PodRefused) as caught:
        await client.ack(target(pod), "u", 1)
    assert (caught.value.status, caught.value.code) == (204, "unknown_run")


@pytest.mark.parametrize("status", [200, 409])
@pytest.mark.case("draining: a pod is replaced under the same name")
async def test_an_answer_of_another_pod_is_not_believed(pod: FakePod, client: Client, status: int) -> None:
    """An address that was given away answers under its new owner's uid, be it yes or no."""
    pod.status, pod.answer = status, {"n": 1, "code": "stale_epoch", "message": "no"}
    meant = PodTarget(pod_uid="pod-gone", ip=pod.host, port=pod.port, version_uid="v")
    with pytest.raises(PodRefused) as caught:
        await client.ack(meant, "u", 1)
    assert (caught.value.code, caught.value.value) == ("wrong_pod", "pod-1")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b'{"protocol":1}'),
        (200, b'{"protocol":2,"version":"v1","podUID":"pod-1","boot":"b","n":1}'),
        (302, b"elsewhere"),
        (404, b"not found"),
        (500, b'{"code":"surprise"}'),
    ],
)
async def test_an_answer_that_is_not_of_the_protocol_is_a_refusal_without_code(
    pod: FakePod, client: Client, status: int, body: bytes
) -> None:
    """Foreign bodies are neither success nor silence."""
    pod.status, pod.answer = status, body
    with pytest.raises(PodRefused) as caught:
        await client.ack(target(pod), "u", 1)
    assert (caught.value.status, caught.value.code) == (status, "unknown")


RUN: dict[str, object] = {"uid": "u", "epoch": 3, "state": "running"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": -1},
        {"n": 2**53},
        {"capacity": -1},
        {"capacity": 2**31},
        {"runs": [RUN | {"epoch": 2**31 - 1}]},
        {"runs": [RUN | {"epoch": -1}]},
        {"runs": [RUN | {"steps": 2**31}]},
        {"runs": [RUN | {"steps": -1}]},
        {"runs": [RUN | {"journalEpoch": 2**40}]},
    ],
)
async def test_a_number_that_no_status_can_hold_is_not_believed(
    pod: FakePod, client: Client, wrong: dict[str, object]
) -> None:
    """Taken over, it would make every later write of that run invalid; an epoch needs room for one more."""
    pod.answer = {**STATE, "runs": [RUN | {"epoch": 2**31 - 2, "steps": 2**31 - 2}]}
    assert (await client.state(target(pod), after=0, boot="", wait_seconds=0)).runs[0].epoch == 2**31 - 2
    pod.answer = {**STATE, **wrong}
    with pytest.raises(PodRefused) as caught:
        await client.state(target(pod), after=0, boot="", wait_seconds=0)
    assert caught.value.code == "unknown"


@pytest.mark.parametrize("status", [200, 409])
@pytest.mark.parametrize("version", [b'"\xff"', b"[" * 5_000, b'"\xed\xa0\x80"', b"[" * 2_000_000])
async def test_an_answer_that_cannot_be_read_is_a_refusal(
    pod: FakePod, client: Client, status: int, version: bytes
) -> None:
    """Whatever bytes a pod sends, its poll ends as a PodError, and goes on."""
    pod.status = status
    for body in (b'{"protocol":1,"podUID":"pod-1","boot":"b","n":1,"capacity":1,"version":' + version + b"}", version):
        pod.answer = body
        with pytest.raises(PodRefused):
            await client.state(target(pod), after=0, boot="", wait_seconds=0)


async def test_a_result_that_nests_deeper_than_the_stack_does_not_silence_its_pod(pod: FakePod, client: Client) -> None:
    """The other runs of the answer are heard; what is left of the result is still too deep to be stored."""
    deep = b"[" * 7_000 + b"]" * 7_000
    ended = b'{"uid":"deep","epoch":1,"state":"succeeded","outcome":{"result":' + deep + b"}}"
    head = b'{"protocol":1,"version":"v1","podUID":"pod-1","boot":"b","n":1,"capacity":1,"runs":['
    pod.answer = head + ended + b',{"uid":"a","epoch":1,"state":"running"}]}'
    first, second = (await client.state(target(pod), after=0, boot="", wait_seconds=0)).runs
    assert (first.uid, second.uid) == ("deep", "a")
    assert first.outcome is not None
    assert nests_deeper(bytes(first.outcome.result), VALUE_DEPTH_LIMIT)


async def test_an_answer_larger_than_any_honest_one_is_not_read(
    pod: FakePod, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile pod does not fill the operator's memory."""
    monkeypatch.setattr(wire, "ANSWER_LIMIT_BYTES", 10_000)
    pod.answer = b"x" * 1_000_000
    with pytest.raises(PodRefused, match="more than 10000 bytes"):
        await client.state(target(pod), after=0, boot="", wait_seconds=0)


async def test_silence_and_a_cut_connection_are_unreachable_and_not_repeated(pod: FakePod, client: Client) -> None:
    """Whether the pod took the offer is unknown: the loop decides what to do, not the client."""
    await client.ack(target(pod), "u", 1)
    pod.cut = True
    with pytest.raises(PodUnreachable):
        await client.offer(target(pod), "u", OFFER)
    assert len(pod.seen) == 2
    nobody = PodTarget(pod_uid="pod-2", ip="127.0.0.1", port=9, version_uid="v")
    with pytest.raises(PodUnreachable, match=r"cannot call pod pod-2 at 127.0.0.1:9: "):
        await client.ack(nobody, "u", 1)


@pytest.mark.case("draining: a pod is replaced under the same name")
async def test_connections_are_kept_per_pod_uid_not_per_address(pod: FakePod, client: Client) -> None:
    """Two uids at one address never share a connection; one uid uses its own again."""
    first = target(pod)
    second = PodTarget(pod_uid="pod-2", ip=first.ip, port=first.port, version_uid="v")
    await client.ack(first, "u", 1)
    await client.ack(first, "u", 1)
    pod.uid = "pod-2"
    await client.ack(second, "u", 1)
    peers = [seen.peer for seen in pod.seen]
    assert peers[0] == peers[1] != peers[2]


async def test_the_connections_of_a_pod_that_is_gone_are_closed(pod: FakePod, client: Client) -> None:
    """A pool that was not used for a while is closed by whatever call comes next."""
    gone = PodTarget(pod_uid="gone", ip=pod.host, port=pod.port, version_uid="v")
    with pytest.raises(PodRefused):
        await client.ack(gone, "u", 1)
    client.clock.advance(IDLE_SECONDS + 1)
    await client.ack(target(pod), "u", 1)
    assert set(client._pools) == {"pod-1"}


async def test_a_run_uid_from_a_pods_listing_stays_within_its_path(pod: FakePod, client: Client) -> None:
    """A listing may name anything as a uid."""
    await client.end(target(pod), "../drain?x=", 1, "deleted")
    assert pod.seen[0].line == "DELETE /runs/..%2Fdrain%3Fx%3D?epoch=1&reason=deleted"
