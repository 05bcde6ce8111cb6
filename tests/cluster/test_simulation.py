"""The simulation of many stores on many workers, small."""

from __future__ import annotations

import pytest

from tests.simulate import LIMIT, Scenario, Simulation, bounds, heavy_tailed, stretch, text

SMALL = Scenario(
    "small",
    heavy_tailed(20, 40_000_000),
    workers=8,
    places=3,
    split=100_000,
    days_between_deaths=0.02,
    seconds_between_429s=60.0,
    share_with_429s=0.5,
)


def test_all_is_sent_near_the_bound_and_no_store_stands_still_while_a_place_is_free() -> None:
    simulation = Simulation(SMALL)
    found = simulation.run()
    assert found.sent == pytest.approx(40_000_000, rel=1e-6)
    assert found.deaths > 3
    assert found.limited > 3
    assert found.given_up == 0
    assert found.idle_with_place == 0
    assert found.dark > 0
    assert found.peak_sent <= 20 * LIMIT
    assert max(bounds(SMALL).values()) / found.seconds > 0.9
    assert "all together" in text(SMALL, found, stretch(1, 5))


def test_the_same_seed_gives_the_same() -> None:
    assert Simulation(SMALL).run() == Simulation(SMALL).run()


def test_when_the_cores_are_the_bound_they_are_busy() -> None:
    crowded = Scenario("crowded", [1_000_000] * 40, workers=2, split=100_000)
    found = Simulation(crowded).run()
    assert bounds(crowded)["the cores"] / found.seconds > 0.95
    assert found.idle_without > 0


def test_when_the_ledger_is_the_bound_it_is_never_passed() -> None:
    slow = Scenario("slow", [1_000_000] * 10, workers=4, split=100_000, ledgers=1, new_a_second=20_000)
    found = Simulation(slow).run()
    assert found.peak_sent <= 20_000 * (1 + 1e-9)
    assert bounds(slow)["the ledger"] / found.seconds > 0.9


@pytest.mark.parametrize("workers", [1, 50])
def test_the_stretches_show_what_the_simulation_takes_from_them(workers: int) -> None:
    found = stretch(workers, 20)
    assert 0.98 <= found.reached <= 1.01
    assert found.calls < 120
