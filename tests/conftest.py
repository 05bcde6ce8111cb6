"""What every test may use: `require` for what a machine may lack, `test_data` for files that are not in this repository."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time and no clock: a failure in CI is one that can be had again. Without CI, luck finds more.
settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

Require = Callable[[object, str], None]


def _require(condition: object, reason: str) -> None:
    """Skip the test unless `condition` holds; fail it instead where BACKFILL_REQUIRE_ALL is set, as in CI.

    A text names a program that must be on the PATH; anything else counts by its truth.
    """
    __tracebackhide__ = True
    if shutil.which(condition) if isinstance(condition, str) else condition:
        return
    if os.environ.get("BACKFILL_REQUIRE_ALL"):
        pytest.fail(f"needed because BACKFILL_REQUIRE_ALL is set: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require() -> Require:
    """`require("nginx", "nginx is not installed")`, for fixtures and tests alike."""
    return _require


@pytest.fixture(scope="session")
def test_data(require: Require) -> Path:
    """The folder of test files that are too many or too large for this repository (corpora/, real/)."""
    folder = os.environ.get("BACKFILL_TEST_DATA", "")
    require(bool(folder), "BACKFILL_TEST_DATA does not name the folder of test files")
    path = Path(folder)
    require(path.is_dir(), f"BACKFILL_TEST_DATA is {folder}, which is no folder")
    return path
