"""What holds for all tests: GPU tests skip where there is none, and in CI no other test may skip."""

from __future__ import annotations

import os

import pytest

STRICT_SKIPS = os.environ.get("MEMORIES_STRICT_SKIPS") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_items:
        return
    import torch  # only where a GPU test was collected: it takes a second

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


class _SkipPolice:
    """Counts the skips that CI does not allow and fails the run for them."""

    def __init__(self) -> None:
        self.forbidden: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        xfailed = hasattr(report, "wasxfail")
        if report.skipped and not xfailed and "gpu" not in report.keywords:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.forbidden.append(f"{report.nodeid}: {reason}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.forbidden.append(f"{report.nodeid}: skipped as a whole")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.forbidden:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.forbidden:
            terminalreporter.write_line(f"FORBIDDEN SKIP {line}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if STRICT_SKIPS:
        config.pluginmanager.register(_SkipPolice(), "skip-police")
