"""What holds for every test: in CI, a skipped test is a failed one; and no test fails since the machine is busy."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# Both are times on a clock: how long an example may take, and how long may be spent on making up examples.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
