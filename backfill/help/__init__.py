"""The pages of `backfill help`: Markdown beside this module, the same that README.md links to."""

from __future__ import annotations

import difflib
from importlib import resources

from backfill.errors import UsageError

__all__ = ["page", "topics"]

# In the order in which somebody needs them.
_TOPICS = ("mapping", "cookbook", "ids", "nightly", "stores", "ledger-postgresql", "cluster", "exit", "python")


def topics() -> dict[str, str]:
    """Each topic with its page's title."""
    return {name: _text(name).partition("\n")[0].removeprefix("# ") for name in _TOPICS}


def page(topic: str) -> str:
    """A topic's page. Raises UsageError for one that there is not."""
    if topic not in _TOPICS:
        near = difflib.get_close_matches(topic, _TOPICS, 1)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        raise UsageError(f'no help on "{topic}"{meant}', hint=f"there is help on {', '.join(_TOPICS)}")
    return _text(topic)


def _text(topic: str) -> str:
    return resources.files(__package__).joinpath(f"{topic}.md").read_text(encoding="utf-8")
