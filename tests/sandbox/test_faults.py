"""Faults as text, and whose turn it is."""

from __future__ import annotations

import dataclasses

import pytest

from backfill.sandbox import Faults, FaultsError, Kind
from backfill.sandbox.faults import _FIELDS, Mischief, Turn


def test_parse():
    assert Faults.parse("") == Faults()
    assert Faults.parse("latency=80±40,503=1%,reset=2%,429=2%") == Faults(
        latency=80, jitter=40, status_503=0.01, reset=0.02, status_429=0.02
    )
    assert Faults.parse(" latency = 200ms +- 50ms , hang=0.5, hang_seconds=2s,seed=7 ") == Faults(
        latency=200, jitter=50, hang=0.5, hang_seconds=2, seed=7
    )
    assert Faults.parse("outage_after=10,outage_seconds=1.5,outage_with=reset").outage_with == "reset"
    assert Faults.parse("fail_first=3,fail_status=401,max_body=1000,retry_after=-60").max_body == 1000


def test_every_kind_has_a_share_and_every_text_comes_back():
    assert set(Faults().shares()) == {kind.value for kind in Kind}
    for kind in Kind:
        assert Faults.parse(f"{kind}=3%").shares()[kind] == pytest.approx(0.03)
    text = "latency=80,jitter=40,503=0.01,outage_after=3,outage_with=reset,max_body=10,seed=2"
    assert Faults.parse(str(Faults.parse(text))) == Faults.parse(text)
    assert str(Faults()) == ""


@pytest.mark.parametrize(
    "text, message",
    [
        ("resett=1%", 'no fault "resett"; did you mean "reset"? Known: 204, 302'),
        ("zzz", 'no fault "zzz" Known: 204'),
        ("reset", "reset: needs a value, as in reset=2%"),
        ("reset=", "reset: needs a value"),
        ("reset=lots", 'reset: "lots" is no number, as in reset=2%'),
        ("reset=101%", "reset=1.01: a share is from 0 to 1"),
        ("503=-1%", "503=-0.01: a share is from 0 to 1"),
        ("reset=nan", "not finite"),
        ("reset=60%,503=50%", "the shares add up to 110.0%"),
        ("reset=1%,reset=2%", "reset: is given twice"),
        ("latency=-1", "latency=-1: cannot be below 0"),
        ("latency=5%", '"5%" is a share, but this is none'),
        ("fail_first=1.5", '"1.5" is no whole number'),
        ("unauthorized@many", 'unauthorized_after: "many" is no number'),
        ("unauthorized@-1", "unauthorized_after=-1: cannot be below 0"),
        ("fail_status=200", "fail_status=200: is from 400 to 599"),
        ("outage_with=flood", 'outage_with: no fault "flood" Known:'),
    ],
)
def test_a_wrong_word_is_named(text, message):
    with pytest.raises(FaultsError) as raised:
        Faults.parse(text)
    assert message in str(raised.value)


def turns(faults: Faults, count: int) -> list[Turn]:
    mischief = Mischief(faults, lambda: 0.0)
    return [mischief.turn() for _ in range(count)]


def test_shares_and_latency_come_out_and_repeat():
    faults = Faults(latency=80, jitter=40, reset=0.02, status_503=0.1, seed=3)
    dealt = turns(faults, 10_000)
    assert dealt == turns(faults, 10_000)
    assert dealt != turns(dataclasses.replace(faults, seed=4), 10_000)
    kinds = [turn.kind for turn in dealt]
    assert 150 < kinds.count(Kind.RESET) < 250
    assert 900 < kinds.count(Kind.UNAVAILABLE) < 1100
    waits = [turn.wait for turn in dealt]
    assert 0.04 <= min(waits) < 0.041
    assert 0.119 < max(waits) <= 0.12
    assert sum(waits) / len(waits) == pytest.approx(0.08, rel=0.02)
    assert min(turn.wait for turn in turns(Faults(latency=10, jitter=100), 100)) == 0


def test_a_share_of_1_is_every_request():
    assert {turn.kind for turn in turns(Faults(html=1), 1000)} == {Kind.HTML}


def test_fail_first_and_then_an_outage():
    now = 0.0
    mischief = Mischief(
        Faults(fail_first=1, fail_status=401, outage_after=2, outage_seconds=5, outage_with="reset"),
        lambda: now,
    )
    assert mischief.turn().status == 401
    assert mischief.turn() == Turn(0.0)
    now = 100.0
    assert mischief.turn().kind is Kind.RESET
    now = 104.9
    assert mischief.turn().kind is Kind.RESET
    now = 105.0
    assert mischief.turn() == Turn(0.0)


def test_every_word_is_explained():
    told = Faults.explained()
    for word in _FIELDS:
        example = next(line.split()[0] for line in told.splitlines() if line.startswith(f"  {word}="))
        assert Faults.parse(example) != Faults()
    for line in told.partition("Together:\n")[2].splitlines():
        assert Faults.parse(line.split()[0]) != Faults()
    assert max(map(len, told.splitlines())) < 80


def test_a_secret_is_replaced():
    faults = Faults.parse("unauthorized@2")
    assert faults == Faults.parse(str(faults)) == Faults(unauthorized_after=2)
    mischief = Mischief(faults, lambda: 0.0)
    answers = [
        (secret, mischief.refuses(secret, mischief.turn())) for secret in ("old", "older", "old", "new", "older")
    ]
    assert answers == [("old", False), ("older", False), ("old", True), ("new", False), ("older", True)]
    at_once = Mischief(Faults(unauthorized_after=0), lambda: 0.0)
    assert [at_once.refuses(secret, at_once.turn()) for secret in ("old", "new", "old")] == [True, False, True]
