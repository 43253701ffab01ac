"""Rules for every test: a skipped test is a failed run, since what was not run was not shown; a case has a row.

`make test` runs two tests at a time. Those that share a cluster stay together, so that no cluster is made twice.
"""

from pathlib import Path

import pytest

from tests.cases.rows import ROWS

HERE = Path(__file__).parent
CLUSTERS = ("integration", "contract", "cluster", "faults")
"""Folders whose tests share a cluster; in the first each folder below has one of its own."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The suite with real pods is run by `make e2e` alone: it needs root or a cluster, and skips nothing."""
    is_asked_for = any("e2e" in Path(word.partition("::")[0]).parts for word in config.args)
    return True if collection_path == HERE / "e2e" and not is_asked_for else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say at the end of a whole run what it did not run."""
    if config.args_source == pytest.Config.ArgsSource.TESTPATHS:
        terminalreporter.write_line("not called: make e2e, the suite with real pods (docs/e2e.md)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a mark that names no row of the cases."""
    known = {row.id for row in ROWS}
    wrong = {
        f"{item.nodeid}: {case}"
        for item in items
        for mark in item.iter_markers("case")
        for case in mark.args
        if case not in known
    }
    if wrong:
        raise pytest.UsageError(f"no row of tests/cases/rows.py: {sorted(wrong)}")
    for item in items:
        parts = item.path.relative_to(HERE).parts
        if parts[0] in CLUSTERS:
            item.add_marker(pytest.mark.xdist_group("/".join(parts[:-1])))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if any test was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\n{len(skipped)} skipped: a skipped test fails the run")  # noqa: T201 - the reporter is done by now
