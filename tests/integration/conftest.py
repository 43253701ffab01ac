"""The stage of the integration tests: one real API server per session, with CRDs and RBAC as a user installs them."""

from collections.abc import Iterator

import pytest

from hack.stage import Stage
from tests.integration.fleet import IMAGES
from tests.integration.recorder import Recorder, recording_of


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A fresh cluster that serves the CRDs of this checkout, with the operator's account and roles."""
    made = Stage(tmp_path_factory.mktemp("stage"), IMAGES)
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="session")
def recorder(stage: Stage) -> Iterator[Recorder]:
    """What happens on the stage, from now on."""
    with recording_of(stage.cluster) as made:
        yield made
