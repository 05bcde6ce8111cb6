"""Pages in headless Chromium, as a person would use them: `from tests.browser import browser`, and `browser.new_page()`.

A module's tests share one browser. It can't be the session's: Playwright's event loop would stand in the way of others.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.conftest import Require

__all__ = ["browser"]

# The browser's own sandbox needs rights that a container seldom has.
_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser(require: Require) -> Iterator[Browser]:
    """Debian's Chromium: nothing is downloaded."""
    require("chromium", "chromium is not installed")
    with sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=shutil.which("chromium"), args=_OPTIONS)
        yield running
        running.close()
