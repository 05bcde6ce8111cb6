"""What the tests on Ray share: one cluster, for it takes ten seconds to start."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Require

CPUS = 1


@pytest.fixture(scope="session")
def nodes(require: Require) -> Iterator[Any]:
    """A cluster: a head and two nodes, of one core each."""
    require(importlib.util.find_spec("ray"), "Ray is not installed")
    whole = started(nodes=2)
    yield whole
    whole.shutdown()


def started(nodes: int) -> Any:
    """A cluster of a head and so many nodes."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    whole = Cluster(initialize_head=True, head_node_args={"num_cpus": CPUS, "include_dashboard": False})
    for _ in range(nodes):
        whole.add_node(num_cpus=CPUS)
    return whole
