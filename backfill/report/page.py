"""report.html: one file that opens offline and tells what became of the export.

The page is whole without scripts; what they add are charts, and a search. They may do nothing but that: the policy
allows exactly these scripts, by their hashes, and nothing from anywhere else.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from backfill.charts import csp_source, libraries
from backfill.printable import printable

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["render"]

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; script-src "


def render(page: dict[str, Any]) -> str:
    """The page of what `data` assembled; all that comes from the export is escaped."""
    from markupsafe import Markup

    charts = {kind: page[kind]["chart"] for kind in ("times", "course") if page[kind] and page[kind]["chart"]}
    script = _file("page.js")
    scripts = [libraries(), script] if charts else [script]
    return _template().render(
        p=page,
        policy=Markup(POLICY + " ".join(map(csp_source, scripts))),  # noqa: S704 (nothing of the export)
        style=Markup(_file("page.css")),  # noqa: S704 (our own file)
        scripts=[Markup(one) for one in scripts],  # noqa: S704 (our own files)
        data=Markup(_in_script(charts)),  # noqa: S704 (see there)
    )


@cache
def _template() -> Template:
    """Read and compiled once: that takes 30 ms, and a run of many stores has a page for each."""
    from jinja2 import Environment, StrictUndefined

    # Markup is escaped; and what would turn a line around, or hide in it, is written out.
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["n"] = "{:,}".format
    return environment.from_string(_file("page.html.jinja"))


def _in_script(value: Any) -> str:
    """JSON that can't end the script element in which it stands, nor begin a comment there; all of it ASCII."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
