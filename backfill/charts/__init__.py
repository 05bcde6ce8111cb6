"""Charts for pages that open offline: Observable Plot, which draws SVG, and d3, on which it stands.

They come from npm as they are, with their licences beside them; `.ci/charts` fetches newer ones. A page puts them into
a script of its own, and allows that script alone by its hash (`csp_source`).
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

__all__ = ["csp_source", "libraries"]

_FILES = ("d3.min.js", "plot.min.js")


@cache
def libraries() -> str:
    """The source of both libraries, for one `<script>`: 490 kB. They define `d3` and `Plot`."""
    files = resources.files(__package__)
    return "\n".join(files.joinpath(name).read_text(encoding="utf-8") for name in _FILES)


def csp_source(script: str) -> str:
    """What allows exactly this inline script in a Content-Security-Policy: `'sha256-…'`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
