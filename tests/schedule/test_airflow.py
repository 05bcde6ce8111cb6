"""The Airflow task, with stubs of Airflow and with itself."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.end_to_end.support import SECRET
from tests.schedule.support import (
    PLAIN,
    text_of,
)


class Hook:
    """Airflow's hook for processes, as far as the file uses it."""

    status = 0

    def run_command(self, command: list[str], env: dict[str, str]) -> types.SimpleNamespace:
        assert env["REDO_API_SECRET"] == SECRET
        assert command == ["/opt/backfill/bin/backfill", *PLAIN.run()]
        return types.SimpleNamespace(exit_code=self.status)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Stubs of Airflow 3's modules; gives what the file made with them."""
    made: dict[str, object] = {}

    class Dag:
        def __init__(self, **arguments: object) -> None:
            made["dag"] = arguments

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None: ...

    class Operator:
        log = types.SimpleNamespace(warning=lambda text: made.setdefault("warned", text))

        def __init__(self, **arguments: object) -> None:
            made["task"], made["arguments"] = self, arguments

    class Failed(Exception): ...

    class FailedForGood(Failed): ...

    connection = types.SimpleNamespace(password=SECRET)
    base_hook = types.SimpleNamespace(get_connection=lambda name: {"redo_orders": connection}[name])
    modules = {
        "airflow": {},
        "airflow.sdk": {"DAG": Dag, "BaseHook": base_hook, "BaseOperator": Operator},
        "airflow.sdk.exceptions": {"AirflowException": Failed, "AirflowFailException": FailedForGood},
        "airflow.providers": {},
        "airflow.providers.standard": {},
        "airflow.providers.standard.hooks": {},
        "airflow.providers.standard.hooks.subprocess": {"SubprocessHook": Hook},
        "pendulum": {"datetime": lambda *day, tz: datetime(*day, tzinfo=ZoneInfo(tz))},
    }
    for name, contents in modules.items():
        module = types.ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    made["failed"], made["for good"] = Failed, FailedForGood
    return made


def test_airflow_builds_the_dag(airflow: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    exec(compile(text_of("airflow"), "backfill_orders.py", "exec"), {})
    assert airflow["dag"] | {"description": ""} == {
        "dag_id": "backfill_orders",
        "description": "",
        "schedule": "30 2 * * *",
        "start_date": datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["backfill", "redo"],
    }
    assert airflow["arguments"]["retry_delay"] == timedelta(minutes=15)
    assert airflow["arguments"]["retries"] == 8
    ends = {0: None, 3: None, 11: "failed", 75: "failed", -9: "failed", 143: "failed"}
    ends |= dict.fromkeys((1, 2, 65, 70, 74, 77, 78), "for good")
    for status, end in ends.items():
        monkeypatch.setattr(Hook, "status", status)
        if end is None:
            airflow["task"].execute({})
        else:
            with pytest.raises(airflow["failed"]) as raised:
                airflow["task"].execute({})
            assert raised.type is airflow[end], status
    assert "rejected" in airflow["warned"]


@pytest.mark.slow
def test_airflow_itself_loads_the_dag(tmp_path: Path) -> None:
    python = os.environ.get("BACKFILL_AIRFLOW_PYTHON")
    if not python:
        pytest.skip("BACKFILL_AIRFLOW_PYTHON names no Python that has Airflow")
    (tmp_path / "backfill_orders.py").write_text(text_of("airflow"))
    program = (
        "import sys, runpy\nmade = runpy.run_path(sys.argv[1])\ndag = made['dag']\ntask = dag.get_task('run')\n"
        "print([dag.dag_id, str(dag.timezone), dag.catchup, dag.max_active_runs, task.retries])"
    )
    done = subprocess.run(
        [python, "-c", program, str(tmp_path / "backfill_orders.py")],
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "['backfill_orders', 'Europe/Berlin', False, 1, 8]"
