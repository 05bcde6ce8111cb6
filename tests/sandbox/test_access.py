"""Who may write, where, and in which media type."""

from __future__ import annotations

import httpx
import pytest

SINGLE = "/stores/s1/events"


@pytest.fixture
def guarded(start):
    return start(
        secrets=frozenset({"right", "read-only"}),
        forbidden=frozenset({"read-only"}),
        stores=frozenset({"s1"}),
    )


@pytest.mark.parametrize(
    "authorization, status",
    [
        ("Bearer right", 202),
        ("bearer right", 202),
        ("Bearer wrong", 401),
        ("Bearer", 401),
        ("Basic right", 401),
        ("right", 401),
        (None, 401),
        ("Bearer read-only", 403),
    ],
)
def test_secret(guarded, event, authorization, status):
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = httpx.post(guarded.base_url + SINGLE, json=event(), headers=headers)
    assert answer.status_code == status
    if status != 202:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"] == {401: "Unauthorized", 403: "Forbidden"}[status]
        assert "right" not in answer.text
    assert guarded.summary().stored == (status == 202)


@pytest.mark.parametrize("path", ["/stores/s2/events", "/stores/s2/events/bulk"])
def test_unknown_store(guarded, event, path):
    answer = httpx.post(guarded.base_url + path, json=event(), headers={"Authorization": "Bearer right"})
    assert answer.status_code == 404
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "detail": "the store is not known",
        "instance": "/v2.2" + path,
    }


def test_any_secret_and_store_by_default(client, event):
    assert client.post("/stores/any%20store/events", json=event()).status_code == 202


@pytest.mark.parametrize(
    "media_type, status",
    [
        ("application/json", 202),
        ("application/json; charset=utf-8", 202),
        ("Application/JSON", 202),
        ("text/plain", 415),
        ("application/x-ndjson", 415),
        (None, 415),
    ],
)
def test_media_type(shared, event, media_type, status):
    body = httpx.Request("POST", "http://example.com", json=event()).content
    headers = {"Authorization": "Bearer x"} | ({"Content-Type": media_type} if media_type else {})
    assert httpx.post(shared.base_url + SINGLE, content=body, headers=headers).status_code == status


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", SINGLE, 405),
        ("PUT", SINGLE, 405),
        ("DELETE", SINGLE + "/bulk", 405),
        ("POST", "/stores/s1/event", 404),
        ("POST", SINGLE + "/", 404),
        ("POST", "/stores//events", 404),
    ],
)
def test_no_other_calls(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_prefix_is_the_version(shared, event):
    url = shared.page_url + "v2.1/stores/s1/events"
    assert httpx.post(url, json=event(), headers={"Authorization": "Bearer x"}).status_code == 404


def test_listens_on_this_machine_only(shared):
    assert shared.base_url.startswith("http://127.0.0.1:")
    assert shared.base_url == shared.page_url + "v2.2"
