"""The page for a person to look at, as a browser without scripts has it; with scripts: test_live_page."""

from __future__ import annotations

from html.parser import HTMLParser

SINGLE = "/stores/s1/events"
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}"


class Elements(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data):
        self.text += data


def test_empty(start, connect):
    sandbox = start()
    answer = connect(sandbox).get(sandbox.page_url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert "none yet" in Elements(answer.text).text


def test_shows_counts_and_newest_events(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    for i in range(60):
        client.post(SINGLE, json=event(uniqueId=f"id-{i}"))
    client.post(SINGLE, json=event(uniqueId="id-0", value=2))
    client.post(SINGLE, json=event(value="x"))
    text = Elements(client.get(sandbox.page_url).text).text
    assert "id-59" in text
    assert "id-5\n" not in text
    assert "duplicate, other content" in text
    assert "value: is not a number" in text


def test_markup_is_inert(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    hostile = event(
        eventName=SCRIPT,
        uniqueId="'\"><svg onload=alert(1)>",
        eventTimestamp="2024-01-01T00:00:00Z",
        data={SCRIPT: SCRIPT},
    )
    assert client.post("/stores/%3Cb%3Ebold/events", json=hostile).status_code == 202
    client.post(SINGLE, json=event(customer={"id": "1", SCRIPT: 1}))
    page = Elements(client.get(sandbox.page_url).text)
    assert page.tags <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "body",
            "h1",
            "h2",
            "p",
            "code",
            "table",
            "tr",
            "th",
            "td",
        ),
        *("bdi", "details", "summary", "pre"),
        # Its own, all in the head: a script in a file of the sandbox's, nothing inline.
        *("link", "script", "noscript", "div"),
    }
    assert page.tags.isdisjoint({"style", "img", "svg"})
    assert page.attributes <= {
        *("lang", "charset", "name", "content", "class", "colspan"),
        *("src", "defer", "type", "rel", "href"),
    }
    assert SCRIPT in page.text
    assert "<b>bold" in page.text


def test_direction_and_control_characters_are_shown(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    client.post(SINGLE, json=event(eventName="a\u202egnp.exe\u0000\u001b[31m", uniqueId="x\u2066y"))
    html = client.get(sandbox.page_url).text
    assert not set(html) & set("\u202e\u2066\u0000\u001b")
    assert "a\\u{202e}gnp.exe\\u{0}\\u{1b}[31m" in html
    assert "x\\u{2066}y" in html


def test_long_names_are_cut(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    client.post(SINGLE, json=event(eventName="x" * 100_000))
    assert len(client.get(sandbox.page_url).text) < 20_000
