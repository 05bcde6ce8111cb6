"""A shop and a sandbox as for the tests of whole runs, and the shim that makes the disk fail."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import Require
from tests.end_to_end.conftest import box, lone_shop, shop, start
from tests.faults.shim import Shim

__all__ = ["box", "lone_shop", "shop", "start"]


@pytest.fixture(scope="session")
def shim(require: Require, tmp_path_factory: pytest.TempPathFactory) -> Shim:
    """The shim, compiled for this machine."""
    require(sys.platform == "linux", "the shim stands before the calls of Linux's C library")
    require("cc", "no C compiler to make the shim with")
    return Shim.compiled(tmp_path_factory.mktemp("shim"))
