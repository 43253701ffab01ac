"""Inputs and results that nobody can hold end their run, with what is wrong, and nothing else."""

import json
from typing import Any, cast

import msgspec
import pytest

from pinfleet.wire import Outcome
from pinfleet_operator.api import keys
from pinfleet_operator.errors import Rejected, Unavailable
from pinfleet_operator.runs import patch
from pinfleet_operator.runs.act import Act
from pinfleet_operator.runs.judge import judge
from pinfleet_operator.runs.judge.situation import WriteEnd
from tests.unit.operator.runs.conftest import PENDING, RUNNING, listing


def nested(levels: int, core: bytes = b"1") -> bytes:
    """Lists in lists."""
    return b"[" * levels + core + b"]" * levels


def test_an_input_that_nests_too_deep_fails_the_run(situation: Any) -> None:
    """It is said in its own words, before any fleet is looked for."""
    run = msgspec.structs.replace(PENDING, is_input_too_deep=True)
    (end,) = judge(situation(run, fleet=None)).actions

    assert end == WriteEnd(
        "Failed", keys.INPUT_TOO_DEEP, "the input nests deeper than 200 levels: pass it as text, or by reference"
    )


@pytest.mark.parametrize(
    ("result", "holds"),
    [
        (b"null", False),
        (b"[null]", False),
        (b'{"a": null}', True),
        (b'[{"a": [{"b": null}]}]', True),
        (b'{"a": "null", "b": [1, {}]}', False),
        (nested(700, b'{"a": null}'), True),
        (nested(700), False),
    ],
)
def test_a_null_member_is_found_at_any_depth(result: bytes, holds: bool) -> None:  # noqa: FBT001 - of the parameters
    """A merge would delete it; a null in a list stays."""
    assert patch.holds_null(msgspec.json.decode(result)) is holds


class Written:
    """An API server that notes what is written, and a store and a memory that need nothing."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {}

    async def merge_patch(self, *arguments: Any, **_: Any) -> bytes:
        """Note the status."""
        self.status = json.loads(arguments[3])["status"]
        meta = {"uid": "u", "namespace": "ns", "name": "n", "resourceVersion": "8"}
        meta["creationTimestamp"] = "2026-05-01T12:00:00Z"
        return json.dumps({"metadata": meta, "spec": {"task": {"agentDeployment": "f"}}}).encode()

    @property
    def runs(self) -> "Written":
        """The store's runs."""
        return self

    def put_answer(self, _: object) -> None:
        """Take an answer."""


class Refusing(Written):
    """An API server that refuses the first write."""

    async def merge_patch(self, *arguments: Any, **given: Any) -> bytes:
        """Refuse, or note the status."""
        if not self.status:
            self.status = {"phase": "refused"}
            raise Rejected("cannot patch status of AgentRun ns/n: a webhook has a bad moment (422)")
        return await super().merge_patch(*arguments, **given)

    async def get(self, *_: Any) -> bytes:
        """Nobody needs it here."""
        raise Unavailable("no")


def acting(kube: Written) -> Act:
    """What carries out a verdict, on such an API server."""
    nothing = cast("Any", None)
    return Act(
        store=cast("Any", kube),
        kube=cast("Any", kube),
        dispatch=nothing,
        memory=nothing,
        seat=lambda *_, **__: None,
        clock=nothing,
        settings=nothing,
    )


async def test_a_refused_end_without_a_result_is_no_refused_result(situation: Any) -> None:
    """Rule 2: the end of a cancelled run is asked for again, as any refused write; with a result it is left out."""
    kube, said = Refusing(), listing("cancelled")
    with pytest.raises(Rejected):
        await acting(kube).carry_out(situation(RUNNING, said), WriteEnd("Cancelled", keys.CANCELLED, "", said))
    assert kube.status == {"phase": "refused"}
    kube, said = Refusing(), listing("succeeded", outcome=Outcome(result=msgspec.Raw(b"1")))
    await acting(kube).carry_out(situation(RUNNING, said), WriteEnd("Succeeded", keys.COMPLETED, "", said))
    assert (kube.status["phase"], kube.status["reason"]) == ("Failed", keys.RESULT_REFUSED)


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (nested(199), None),
        (nested(201), "it nests deeper than 200 levels"),
        (nested(7_000), "it nests deeper than 200 levels"),
        (b'"' + b"x" * 16_383 + b'"', "it has 16385 bytes, 16384 are allowed"),
        (b"1e999", "it is no JSON: Number out of range"),
        (b'"\xff"', "it is no JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
async def test_a_result_that_cannot_be_stored_fails_the_run(situation: Any, result: bytes, why: str | None) -> None:
    """The run ends all the same, with the reason; once its pod listed it, it was tried for ever."""
    kube = Written()
    said = listing("succeeded", outcome=Outcome(result=msgspec.Raw(result)))
    await acting(kube).carry_out(situation(RUNNING, said), WriteEnd("Succeeded", keys.COMPLETED, "", said))
    if why is None:
        assert (kube.status["phase"], kube.status["reason"]) == ("Succeeded", keys.COMPLETED)
    else:
        assert (kube.status["phase"], kube.status["reason"]) == ("Failed", keys.RESULT_REFUSED)
        assert kube.status["message"] == f"the result cannot be stored: {why}"
        assert kube.status.get("result") is None


@pytest.mark.parametrize("partial", [b'{"reached":3}', b""])
async def test_a_run_that_hit_a_limit_keeps_what_it_left(situation: Any, partial: bytes) -> None:
    """Its partial result is the object's result, beside the reason; without one there is none."""
    kube = Written()
    said = listing("limit", outcome=Outcome(limit="steps", result=msgspec.Raw(partial)))
    await acting(kube).carry_out(situation(RUNNING, said), WriteEnd("Failed", keys.STEP_LIMIT, "", said))
    assert (kube.status["reason"], kube.status.get("result")) == (keys.STEP_LIMIT, json.loads(partial or b"null"))
