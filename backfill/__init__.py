"""backfill: bring a store's history into Redo, once and only once.

`Backfill` is what the commands do, in Python; see `backfill.library`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backfill.errors import BackfillError

if TYPE_CHECKING:
    from backfill.library import Backfill, Check, PastRun, Progress, Result

__all__ = ["Backfill", "BackfillError", "Check", "PastRun", "Progress", "Result", "__version__"]

__version__ = "0.2.0.dev0"

_LIBRARY = frozenset(__all__) - {"BackfillError", "__version__"}


def __getattr__(name: str) -> Any:
    """What takes long to import is imported when it is asked for: `backfill --help` needs none of it."""
    if name not in _LIBRARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from backfill import library

    return getattr(library, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LIBRARY})
