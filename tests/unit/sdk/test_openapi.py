"""The OpenAPI file against real answers of a real pod."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.unit.sdk.conftest import ServePod
from tests.unit.sdk.served_pod import Answer, ServedPod, body, until

FILE = Path(__file__).parents[3] / "docs/reference/run-contract.openapi.yaml"
API: dict[str, Any] = yaml.safe_load(FILE.read_text())


def resolve(node: Any) -> Any:
    """Follow one reference."""
    if "$ref" not in node:
        return node
    found: Any = API
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def check(value: object, schema: dict[str, Any]) -> None:
    """Validate a value by a schema of the file."""
    validator = jsonschema.Draft202012Validator(schema | {"components": API["components"]})
    validator.validate(value)


def check_answer(answer: Answer, method: str, path: str) -> None:
    """Validate an answer by what the file says of its call and status."""
    responses = API["paths"][path][method.lower()]["responses"]
    said = resolve(responses.get(str(answer.status)) or responses["default"])
    if "content" not in said:
        assert answer.body == {}
        return
    check(answer.body, said["content"]["application/json"]["schema"])


def calls(pod: ServedPod) -> list[tuple[Answer, str, str]]:
    """Make calls that are answered in every way that one pod can be brought to; return each answer and its call."""
    made: list[tuple[Answer, str, str]] = []

    def call(method: str, path: str, template: str, given: object = None, **headers: str | None) -> None:
        made.append((pod.call(method, path, given, **headers), method, template))

    def state() -> None:
        call("GET", "/state?after=0", "/state")

    for path in ("/ping", "/ready"):
        call("GET", path, path, Authorization=None, Pinfleet_Pod=None, Pinfleet_Leader=None)
    asks: list[tuple[str, dict[str, Any]]] = [
        ("succeeded", {"steps": 1}),
        ("failed", {"steps": "x"}),
        ("limit", {"steps": 3, "max_steps": 1}),
        ("parked", {"then": "sleep", "hours": 1}),
    ]
    for uid, ask in asks:
        call("PUT", f"/runs/{uid}", "/runs/{uid}", body(**ask))
        pod.until_listed(uid, uid)
    state()
    call("PUT", "/runs/full", "/runs/{uid}", body())
    for uid, _ in asks:
        call("POST", f"/runs/{uid}/ack?epoch=1", "/runs/{uid}/ack")
    call("POST", "/runs/parked/ack?epoch=1", "/runs/{uid}/ack")
    call("PUT", "/runs/r", "/runs/{uid}", body(epoch=5, then="forever"))
    for uid, offered in (("r", body(epoch=4)), ("other", body(version="v9")), ("bad", {})):
        call("PUT", f"/runs/{uid}", "/runs/{uid}", offered)
    call("POST", "/runs/r/ack?epoch=5", "/runs/{uid}/ack")
    call("DELETE", "/runs/none?epoch=1&reason=cancel", "/runs/{uid}")
    call("DELETE", "/runs/r?epoch=5&reason=cancel", "/runs/{uid}")
    pod.until_listed("cancelled", "r")
    state()
    call("GET", "/state", "/state", Authorization=None)
    call("GET", "/state", "/state", Pinfleet_Pod="other")
    call("POST", "/drain", "/drain", Pinfleet_Leader="9")
    call("POST", "/drain", "/drain", Pinfleet_Leader="1")
    call("GET", "/ready", "/ready")
    call("PUT", "/runs/late", "/runs/{uid}", body(), Pinfleet_Leader="9")
    return made


@pytest.mark.case("protocol: every call, as the page says it")
def test_real_answers(serve_pod: ServePod) -> None:
    """Every real answer is what the file says of its call, and most codes are among them."""
    made = calls(serve_pod())
    for answer, method, path in made:
        check_answer(answer, method, path)
    codes = {answer.body["code"] for answer, _, _ in made if "code" in answer.body}
    promised = set(API["components"]["schemas"]["Refusal"]["allOf"][1]["properties"]["code"]["enum"])
    assert promised - codes == {"journal_unavailable"}


def test_fenced_is_as_said(serve_pod: ServePod) -> None:
    """A fenced run is listed as the file says, with the journal's epoch."""
    first, second = serve_pod("pod-1"), serve_pod("pod-2")
    first.offer(steps=50, seconds=0.05)
    until(first.trace, "the first step")
    second.offer(epoch=2, then="forever")
    check_answer(Answer(200, first.call("GET", "/state?after=0").body), "GET", "/state")
    assert first.until_listed("fenced")["journalEpoch"] == 2
    check_answer(Answer(200, first.call("GET", "/state?after=0").body), "GET", "/state")


@pytest.mark.parametrize(
    "run",
    [
        {"uid": "u", "epoch": 1, "state": "succeeded"},
        {"uid": "u", "epoch": 1, "state": "failed", "outcome": {"result": 1}},
        {
            "uid": "u",
            "epoch": 1,
            "state": "limit",
            "outcome": {"limit": "steps", "error": {"type": "a", "message": "b"}},
        },
        {"uid": "u", "epoch": 0, "state": "running"},
        {"uid": "u", "epoch": 1, "state": "gone"},
    ],
)
def test_the_file_refuses(run: dict[str, Any]) -> None:
    """Negative control: a listing that breaks the contract is refused by the file."""
    with pytest.raises(jsonschema.ValidationError):
        check(run, API["components"]["schemas"]["RunListing"])


def test_our_offers_fit() -> None:
    """The offers that the tests send are what the file says."""
    check(body(steps=1), API["components"]["schemas"]["Offer"])
