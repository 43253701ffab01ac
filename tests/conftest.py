"""Rules for every test: a skipped test is a failed run, since what was not run was not shown."""

import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if any test was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\n{len(skipped)} skipped: a skipped test fails the run")  # noqa: T201 - the reporter is done by now
