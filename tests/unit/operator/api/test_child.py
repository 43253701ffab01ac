"""What a pod's status says of its agent's end."""

import json

import pytest

from pinfleet_operator.api.child import decode_pod


def ended(**terminated: object) -> bytes:
    """A pod whose agent's container has ended."""
    meta = {
        "uid": "u-1",
        "namespace": "team-a",
        "name": "support-v1-0",
        "resourceVersion": "1",
        "creationTimestamp": "2026-11-25T12:00:00Z",
    }
    status = {"phase": "Failed", "containerStatuses": [{"name": "agent", "state": {"terminated": terminated}}]}
    return json.dumps({"metadata": meta, "status": status}).encode()


@pytest.mark.parametrize(
    ("terminated", "words"),
    [
        ({"exitCode": 137, "reason": "OOMKilled", "message": "step 2"}, "OOMKilled: step 2"),
        ({"exitCode": 128, "reason": "StartError"}, "StartError"),
        ({"exitCode": 1, "reason": "Error", "message": "no key"}, "no key"),
        ({"exitCode": 0, "reason": "Completed"}, ""),
    ],
)
def test_last_words_name_what_the_exit_code_does_not(terminated: dict[str, object], words: str) -> None:
    """A container killed for its memory is told from one that a signal killed: both have exit code 137."""
    assert words == decode_pod(ended(**terminated)).termination_message
