"""What arrived, and when: decisions about numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Pace", "above", "pace_of"]

Times = np.ndarray


@dataclass(frozen=True)
class Pace:
    """How a store was sent to: `seconds` from its first request to its last, `requests`; `kept`: the share of its limit
    that it had apart from the time after a kill, and `whole` with it; `above`: requests above limit x t at most;
    `gap` and `gap_at_kill`: the longest time without a request, in seconds.
    """

    seconds: float
    requests: int
    kept: float
    whole: float
    above: float
    gap: float
    gap_at_kill: float


def above(times: Times, rate: float) -> float:
    """The most requests in any time t, from one to another, above rate x t."""
    if not len(times):
        return 0.0
    ahead = np.arange(len(times)) - rate * times
    return float(np.max(ahead - np.minimum.accumulate(ahead))) + 1


def pace_of(times: Times, rate: float, kills: Sequence[float], after: float) -> Pace:
    """Of a store's requests, with `after` seconds behind each kill apart."""
    times = np.sort(times)
    first, last = float(times[0]), float(times[-1])
    spans = _merged([(max(first, at), min(last, at + after)) for at in kills if first < at + after and at < last])
    apart = sum(stop - start for start, stop in spans)
    inside = np.zeros(len(times), bool)
    for start, stop in spans:
        inside |= (times >= start) & (times < stop)
    gaps = np.diff(times)
    touched = np.zeros(len(gaps), bool)
    for start, stop in spans:
        touched |= (times[:-1] < stop) & (times[1:] >= start)
    calm = last - first - apart
    return Pace(
        last - first,
        len(times),
        float((~inside).sum() - 1) / (rate * calm) if calm > 0 else float("nan"),
        (len(times) - 1) / (rate * (last - first)) if last > first else float("nan"),
        above(times, rate),
        float(gaps[~touched].max(initial=0.0)),
        float(gaps[touched].max(initial=0.0)),
    )


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found
