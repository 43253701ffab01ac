"""Candidates of each test; stage, fleet and history are those of the operator's tests."""

from collections.abc import Iterator

import pytest

from hack.stage import Stage
from tests.integration.failover.candidates import Candidates
from tests.integration.operator.conftest import fleet, history, namespace

__all__ = ["fleet", "history", "namespace"]


@pytest.fixture
def candidates(stage: Stage, namespace: str) -> Iterator[Candidates]:
    """Nobody stands yet."""
    with Candidates(stage, namespace[:30]) as made:
        yield made
