"""Events that the API refuses: counted, listed with its words, and not sent again unasked."""

from __future__ import annotations

import pytest

from tests.end_to_end.picky import DETAIL, PickyApi

BAD = frozenset({"order:3", "order:77", "order:78", "order:149"})


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["single", "bulk"])
def test_refused_events(lone_shop, endpoint):
    shop = lone_shop
    ids = shop.orders(150)
    shop.mapping(delivery={"endpoint": endpoint})
    words = ("--rate", "5000")
    with PickyApi(set(BAD)) as api:
        shop.env["REDO_BASE_URL"] = api.base_url
        run = shop.deliver(*words, status=3)
        assert run.events == {"total": 150, "accepted": 146, "refused": 4}
        assert set(api.taken) == ids - BAD
        assert set(api.taken.values()) == {1}
        if endpoint == "bulk":
            assert api.requests <= 2 + 15 * len(BAD)
        refused = run.lines("rejected.ndjson")
        assert {line["event"]["uniqueId"] for line in refused} == BAD
        assert {(line["status"], line["title"], line["detail"]) for line in refused} == {(400, "Bad Request", DETAIL)}
        by_id = {line["event"]["uniqueId"]: (line["file"], line["row"]) for line in refused}
        assert by_id["order:3"] == ("orders.csv", 5)
        assert "rejected.ndjson" in run.done.out

        requests = api.requests
        again = shop.deliver(*words, status=3)
        assert again.events == {"total": 150, "already_delivered": 146, "refused": 4}
        assert api.requests == requests

        # Still refused, and then not.
        still = shop.deliver(*words, "--retry-rejected", status=3)
        assert still.events == {"total": 150, "already_delivered": 146, "refused": 4}
        assert len(still.lines("rejected.ndjson")) == 4
        assert api.requests > requests
        api.bad.clear()
        mended = shop.deliver(*words, "--retry-rejected")
        assert mended.events == {"total": 150, "already_delivered": 146, "accepted": 4}
        assert set(api.taken) == ids
        assert shop.deliver(*words).events == {"total": 150, "already_delivered": 150}


def test_a_refused_event_that_was_mended_in_the_export_goes_out(lone_shop):
    shop = lone_shop
    shop.mapping()
    head = "order_id,at,email,total,note\n"
    shop.write("orders.csv", head + "1,2024-01-01,a@example.com,1,bad\n2,2024-01-01,b@example.com,1,good\n")

    def answer(events):
        bad = any(event["data"]["Note"] == "bad" for event in events)
        return (400, {"title": "no"}) if bad else (202, None)

    with PickyApi(answer=answer) as api:
        shop.env["REDO_BASE_URL"] = api.base_url
        assert shop.deliver(status=3).events == {"total": 2, "accepted": 1, "refused": 1}
        shop.write("orders.csv", head + "1,2024-01-01,a@example.com,1,mended\n2,2024-01-01,b@example.com,1,good\n")
        assert shop.deliver().events == {"total": 2, "accepted": 1, "already_delivered": 1}
        assert set(api.taken) == {"order:1", "order:2"}


def test_the_older_body_of_a_bulk_answer_is_obeyed(lone_shop):
    shop = lone_shop
    ids = shop.orders(20)
    shop.mapping(delivery={"endpoint": "bulk"})

    def answer(events):
        verdicts = [
            {"index": i, "status": "rejected", "eventName": event["eventName"], "error": DETAIL}
            if event["uniqueId"] in {"order:3", "order:19"}
            else {"index": i, "status": "queued", "eventId": f"{i:024x}", "eventName": event["eventName"]}
            for i, event in enumerate(events)
        ]
        rejected = sum(verdict["status"] == "rejected" for verdict in verdicts)
        return 202, {
            "total": len(events), "accepted": len(events) - rejected, "rejected": rejected, "events": verdicts,
        }  # fmt: skip

    with PickyApi(answer=answer) as api:
        shop.env["REDO_BASE_URL"] = api.base_url
        run = shop.deliver(status=3)
    assert run.events == {"total": 20, "accepted": 18, "refused": 2}
    assert run.summary["requests"] == 1
    assert {line["event"]["uniqueId"] for line in run.lines("rejected.ndjson")} == {"order:3", "order:19"}
    assert {line["detail"] for line in run.lines("rejected.ndjson")} == {DETAIL}
    assert len(ids) == 20


def test_a_hostile_answer_is_inert(lone_shop):
    shop = lone_shop
    shop.orders(1)
    shop.mapping()
    words = "\x1b]0;owned\x07<script>alert(1)</script>\u202etxt"
    with PickyApi(answer=lambda events: (400, {"title": words, "detail": words})) as api:
        shop.env["REDO_BASE_URL"] = api.base_url
        run = shop.deliver(status=3)
    assert "\x1b" not in run.done.said
    assert "\u202e" not in run.done.said
    assert "<script>alert" not in (run.folder / "report.html").read_text()
    assert "\x1b" not in (run.folder / "rejected.ndjson").read_text()
