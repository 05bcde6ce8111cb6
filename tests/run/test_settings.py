"""A flag beats an environment variable beats the mapping."""

from __future__ import annotations

from pathlib import Path

import pytest

from backfill import api
from backfill.errors import SettingsError
from backfill.mapping import Delivery
from backfill.settings import SANDBOX_STORE, SANDBOX_URL, Flags, Settings, resolve, state_folder

SECRET = {"REDO_API_SECRET": "hush-hush"}
STORE = {"REDO_STORE_ID": "store"}


def settings(flags: dict[str, object] | None = None, environment: dict[str, str] | None = None, **delivery) -> Settings:
    return resolve(
        Path("shop/orders.yaml"), Delivery(**delivery), Flags(**(flags or {})), {**SECRET, **(environment or {})}
    )


@pytest.mark.parametrize(
    ("name", "variable", "flag", "said", "declared", "default"),
    [
        ("store", "REDO_STORE_ID", "flag", "variable", "mapping", None),
        ("rate", "BACKFILL_RATE", 11.0, "12.5", 13, 95.0),
        ("concurrency", "BACKFILL_CONCURRENCY", 11, "12", 13, 64),
        ("endpoint", "BACKFILL_ENDPOINT", "bulk", "single", "bulk", "single"),
        ("not_newer_than", "BACKFILL_NOT_NEWER_THAN", "1h", "2h", "3h", ""),
    ],
)
def test_precedence(name, variable, flag, said, declared, default):
    base = {} if name == "store" else STORE

    def value(one: Settings) -> object:
        return ("bulk" if one.bulk else "single") if name == "endpoint" else getattr(one, name)

    same = type(flag)
    assert value(settings({name: flag}, {**base, variable: said}, **{name: declared})) == flag
    assert value(settings(None, {**base, variable: said}, **{name: declared})) == same(said)
    assert value(settings(None, base, **{name: declared})) == declared
    assert value(settings(None, {**base, variable: ""}, **{name: declared})) == declared
    if default is not None:
        assert value(settings(None, base)) == default


def test_base_url():
    flag, variable = "https://flag.example.com/v9", "https://variable.example.com"
    assert settings({"base_url": flag}, {**STORE, "REDO_BASE_URL": variable}).base_url == flag
    assert settings(None, {**STORE, "REDO_BASE_URL": variable}).base_url == variable
    assert settings(None, STORE).base_url == api.BASE_URL


@pytest.mark.parametrize(
    ("declared", "yes", "consent"), [(None, False, False), (None, True, True), ("acknowledged", False, True)]
)
def test_consent(declared, yes, consent):
    assert settings({"yes": yes}, STORE, flows=declared).consent is consent


def test_a_sandbox_needs_neither_store_nor_secret():
    found = resolve(Path("orders.yaml"), Delivery(), Flags(sandbox=True), {"REDO_BASE_URL": "http://example.com"})
    assert (found.store, found.base_url, found.secret) == (SANDBOX_STORE, SANDBOX_URL, "sandbox")
    assert found.state.parts[-2:] == (".backfill", "sandbox")
    assert settings({"sandbox": True}, None, store="mine").store == "mine"


def test_the_secret_of_a_file(tmp_path):
    (tmp_path / "secret").write_text("  from-a-file\n")
    file = {"REDO_API_SECRET_FILE": str(tmp_path / "secret"), **STORE}
    assert resolve(Path("m"), Delivery(), Flags(), file).secret == "from-a-file"
    assert resolve(Path("m"), Delivery(), Flags(), {**file, "REDO_API_SECRET": "stronger"}).secret == "stronger"
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is not text"):
        resolve(Path("m"), Delivery(), Flags(), file)


def test_the_secret_is_in_no_repr():
    assert "hush-hush" not in repr(settings(None, STORE))


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({}, {}, "no store"),
        ({}, {**STORE, "REDO_API_SECRET": ""}, "no secret"),
        ({}, {**STORE, "REDO_API_SECRET": "", "REDO_API_SECRET_FILE": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"rate": 0.0}, STORE, "rate"),
        ({"rate": -1.0}, STORE, "rate"),
        ({"rate": float("nan")}, STORE, "rate"),
        ({"rate": float("inf")}, STORE, "rate"),
        ({}, {**STORE, "BACKFILL_RATE": "quick"}, "BACKFILL_RATE"),
        ({}, {**STORE, "BACKFILL_CONCURRENCY": "0"}, "concurrency"),
        ({}, {**STORE, "BACKFILL_CONCURRENCY": "0.5"}, "concurrency"),
        ({}, {**STORE, "BACKFILL_ENDPOINT": "both"}, "both"),
        ({"limit": 0}, STORE, "--limit"),
        ({"limit_each": 0}, STORE, "--limit-each"),
        ({"not_newer_than": "72"}, STORE, '--not-newer-than: "72" is no duration'),
        ({}, {**STORE, "BACKFILL_NOT_NEWER_THAN": "soon"}, "BACKFILL_NOT_NEWER_THAN"),
        ({"base_url": "http://example.com"}, STORE, "not encrypted"),
    ],
)
def test_what_cannot_be(flags, environment, words):
    with pytest.raises(SettingsError, match=words) as caught:
        settings(flags, environment)
    assert caught.value.status == 78
    assert "hush-hush" not in f"{caught.value.message}{caught.value.hint}"


def test_a_flag_of_no_time_keeps_nothing_back():
    assert settings({"not_newer_than": "0h"}, STORE, not_newer_than="72h").not_newer_than == ""


def test_more_than_the_store_takes_is_a_warning():
    assert settings({"rate": 100.0}, STORE).warnings == ()
    (warning,) = settings({"rate": 101.0}, STORE).warnings
    assert "429" in warning


def test_the_state_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "elsewhere" / "orders.yaml")
    assert state_folder(Path("orders.yaml"), Flags(), {}) == tmp_path / ".backfill"
    assert state_folder(Path("link.yaml"), Flags(), {}) == tmp_path / "elsewhere" / ".backfill"
    variable = {"BACKFILL_STATE": "/var/state"}
    assert state_folder(Path("orders.yaml"), Flags(), variable) == Path("/var/state")
    assert state_folder(Path("orders.yaml"), Flags(state=Path("flag")), variable) == Path("flag")
    assert state_folder(Path("orders.yaml"), Flags(sandbox=True), variable) == Path("/var/state/sandbox")


@pytest.mark.parametrize(("events", "single", "bulk"), [(0, 0, 0), (1, 1, 1), (100, 100, 1), (101, 101, 2)])
def test_requests(events, single, bulk):
    assert settings({"endpoint": "single"}, STORE).requests(events) == single
    assert settings({"endpoint": "bulk"}, STORE).requests(events) == bulk
