"""Kubernetes' schema takes the manifest, and its script is run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from backfill.errors import UsageError
from backfill.schedule import Job, render
from tests.end_to_end.support import STORE
from tests.schedule.support import (
    MAPPING,
    PLAIN,
    WATCHED,
    YEAR,
    container,
    job,
    outcome,
    text_of,
)


@pytest.mark.parametrize(
    "made", [PLAIN, WATCHED, job(files=("orders.csv",)), job(mapping=Path("/srv/注文.yaml"))], ids=range(4)
)
def test_kubernetes_takes_the_manifest(made: Job) -> None:
    documents = list(yaml.safe_load_all(text_of("kubernetes", made)))
    for document in documents:
        for version in ("1.31.0", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(document, version, strict=True)
    names = [document["metadata"]["name"] for document in documents]
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", name) for name in names)
    cronjob = documents[-1]["spec"]
    assert cronjob["timeZone"] == made.zone_name
    assert documents[0]["data"]["mapping.yaml"] == MAPPING
    claims = {d["metadata"]["name"] for d in documents if d["kind"] == "PersistentVolumeClaim"}
    pod = cronjob["jobTemplate"]["spec"]["template"]["spec"]
    assert claims == {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


@pytest.mark.parametrize(
    "files, mounted, read_only",
    [
        (("exports/orders_*.csv",), "/import/exports", True),
        (("orders.csv",), "/import", False),
        (("2023.csv.gz", "older/"), "/import", False),
        (("exports/a/x.csv", "exports/b/*.csv"), "/import/exports", True),
        (("/data/exports/year=*/*.parquet",), "/data/exports", True),
        (("../exports/orders.csv", "s3://exports.example.com/x.csv"), "/exports", True),
        (("s3://exports.example.com/x.csv",), None, None),
    ],
)
def test_kubernetes_has_the_exports_where_the_mapping_looks(files, mounted, read_only) -> None:
    mounts = {m["name"]: m for m in container(text_of("kubernetes", job(files=files)))["volumeMounts"]}
    if mounted is None:
        assert "exports" not in mounts
    else:
        assert (mounts["exports"]["mountPath"], mounts["exports"].get("readOnly", False)) == (mounted, read_only)
        assert mounts["mapping"]["mountPath"] == "/import/mapping.yaml"


def test_kubernetes_needs_one_volume() -> None:
    with pytest.raises(UsageError, match="nothing in common"):
        render(job(files=("/data/*.csv", "exports/*.csv")), "kubernetes", YEAR)


def test_kubernetes_runs_it(stub: Path) -> None:
    made = container(text_of("kubernetes"))
    (stub.parent / "log").touch()
    shell, flag, script, name = made["command"]
    script = script.replace("/dev/termination-log", "message")
    command = [shell, flag, script, name, *made["args"]]
    assert outcome(command, stub, "0")[0] == 0
    ended, said, _ = outcome(command, stub, "3")
    assert (ended, (stub.parent / "message").read_text()) == (0, "done; some rows were rejected: see the log\n")
    assert said.startswith(f"backfill run /import/mapping.yaml --yes --state /state/backfill --store {STORE}\n")
    assert outcome(command, stub, "75")[0] == 75


def test_kubernetes_passes_the_signal_on(tmp_path: Path) -> None:
    program = tmp_path / "backfill"
    program.write_text(
        "#!/bin/sh\ntrap 'sleep 0.2; echo drained; exit 143' TERM\necho up\nwhile :; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    script = container(text_of("kubernetes"))["command"][2]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(
        ["/bin/sh", "-c", script, "backfill", "run"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "drained\n"
    assert process.returncode == 143
