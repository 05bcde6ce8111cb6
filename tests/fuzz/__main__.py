"""`python -m tests.fuzz mapping|csv|answers`: for some minutes, with figures at the end; 1 when something was found.

Inputs are mutated by seeded chance. Where atheris is installed (it is no dependency: it has no wheel for every
Python), `--guided` lets libFuzzer choose them by what they reach. What breaks a promise is written to `--keep`, one file
for each place in the code, and `python -m tests.fuzz mapping --again FILE` runs it again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("name", choices=["mapping", "csv", "answers"])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--guided", action="store_true")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "backfill-fuzz"))
    parser.add_argument("--again", type=Path)
    options = parser.parse_args()
    if options.guided:
        import atheris

        # What is imported in here tells libFuzzer where it has been.
        with atheris.instrument_imports(include=["backfill.mapping", "backfill.read", "backfill.retry", "yaml"]):
            from tests.fuzz import targets
    else:
        from tests.fuzz import targets
    if options.again:
        targets.TARGETS[options.name](options.again.read_bytes())
        return 0
    search = Search(options.name, options.keep)
    if options.guided:
        guided(search, options.seed, options.minutes * 60)
    search.run(options.seed, options.minutes * 60)
    search.figures()
    return 1 if search.found else 0


class Search:
    """Runs one target, and keeps what breaks it: the first input for each place in the code."""

    def __init__(self, name: str, keep: Path) -> None:
        from tests.fuzz import targets

        self.name, self.keep, self.target = name, keep, targets.TARGETS[name]
        self.corpus, self.words = targets.seeds(name), list(targets.WORDS[name])
        self.found: dict[str, Path] = {}
        self.runs, self.started = 0, time.monotonic()

    def run(self, seed: int, seconds: float, most: int = sys.maxsize) -> None:
        """The seeds as they are, then mutated ones until the time or the number of runs is up."""
        from tests.fuzz.mutate import mutated

        dice = random.Random(seed)
        for data in self.corpus:
            self.one(data)
        while self.runs < most and time.monotonic() - self.started < seconds:
            self.one(mutated(dice, self.corpus, self.words))

    def one(self, data: bytes) -> None:
        self.runs += 1
        try:
            self.target(data)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            self._keep(data, error)

    def _keep(self, data: bytes, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        words = str(error.args[0])[:40] if type(error).__name__ == "Broken" else ""
        place = f"{type(error).__name__} {words} {' '.join(f'{f.name}:{f.lineno}' for f in frames[-3:])}"
        if place not in self.found:
            self.keep.mkdir(parents=True, exist_ok=True)
            path = self.keep / f"{self.name}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
            path.write_bytes(data)
            self.found[place] = path
            text = "".join(traceback.format_exception(error))
            path.with_suffix(".txt").write_text(text, encoding="utf-8", errors="backslashreplace")
            print(f"found {path}: {place}", flush=True)

    def figures(self, **more: Any) -> None:
        seconds = time.monotonic() - self.started
        print(
            json.dumps({
                "target": self.name, "runs": self.runs, "seconds": round(seconds), "found": len(self.found),
                "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, **more,
            }), flush=True,
        )  # fmt: skip


def guided(search: Search, seed: int, seconds: float) -> None:
    """Let libFuzzer choose the inputs. It ends the process itself, and prints its figures; ours come first."""
    import atheris

    search.keep.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="backfill-fuzz-"))
    for i, data in enumerate(search.corpus):
        (folder / f"seed{i}").write_bytes(data)
    dictionary = folder.with_suffix(".dict")
    dictionary.write_text(
        "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in search.words if len(word) < 60)
    )
    ended = False

    def one(data: bytes) -> None:
        nonlocal ended
        if not ended and time.monotonic() - search.started >= seconds:
            ended = True
            search.figures(corpus=len(list(folder.iterdir())))
        search.one(data)

    atheris.Setup(
        [
            sys.argv[0], f"-seed={seed}", f"-max_total_time={seconds:.0f}", f"-dict={dictionary}", "-max_len=65536",
            "-timeout=600", "-rss_limit_mb=3000", "-print_final_stats=1", f"-artifact_prefix={search.keep}/", str(folder),
        ],
        one,
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
