"""Fixtures of the SDK's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pinfleet.agent import Agent
from tests.unit.sdk.inline_pod import InlinePod

MakePod = Callable[..., InlinePod]


@pytest.fixture
def make_pod(tmp_path: Path) -> Iterator[MakePod]:
    """Make pods that share one journal; close them at the end."""
    made: list[InlinePod] = []

    def make(agent: Agent, **settings: Any) -> InlinePod:
        pod = InlinePod(agent, tmp_path, **settings)
        made.append(pod)
        return pod

    yield make
    for pod in made:
        pod.close()
