"""Names and values that want to be more than text, and the words that tell whether one of them was."""

from __future__ import annotations

import unicodedata

# What a script of ours would leave in the page.
RAN = "data-hostile-ran"
RUN = f"document.documentElement.setAttribute('{RAN}','1')"
BIDI = "\u202efdp.exe\u202c \u2066a\u2069 \u200fb\u061c\ufeff"
TERMINAL = "\x1b[31mred\x1b[2J\x1b]0;title\x07\x9b31m\x08\r\x7f"

MARKUP = [
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"</title></style></textarea><script>{RUN}</script>",
    f"--><script>{RUN}</script><!--",
    f"]]><script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<details open ontoggle={RUN}>",
    f"<body onload={RUN}>",
    f'" autofocus onfocus="{RUN}" x="',
    f"' autofocus onfocus={RUN} x='",
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    f'<meta http-equiv=refresh content="0;url=javascript:{RUN}">',
    f'<a href="javascript:{RUN}">x</a>',
    f"<scr\0ipt>{RUN}</script>",
    f"<style>@import 'javascript:{RUN}'</style>",
    "{{ 7*7 }}{% for x in [] %}{{ cycler.__init__.__globals__ }}${7*7}<%= 7*7 %>",
    "__proto__",
]
HOSTILE = [*MARKUP, BIDI, "x" * 3_000, "a" + "\u0301" * 200]


def hidden(text: str, besides: str = "\n") -> list[str]:
    """The characters of a text that act on a terminal, or on the order in which the others are read."""
    return sorted({
        f"U+{ord(letter):04X}"
        for letter in text
        if unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and letter not in besides
    })  # fmt: skip
