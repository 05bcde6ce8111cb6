"""Names that a store was never sent, and those of them that look like slips."""

from __future__ import annotations

import pytest

from backfill.names import NewName, new_names


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("Order placed", "Order Placed"),
        ("order_placed", "Order Placed"),
        (" Order  Placed", "Order Placed"),
        ("Order Palced", "Order Placed"),
        ("Orders Placed", "Order Placed"),
        ("Order Paid", ""),
        ("Order Refunded", ""),
        ("Order", ""),
        ("Tier 11 Reached", ""),
        ("tier 10 reached", "Tier 10 Reached"),
        ("!!!", ""),
    ],
)
def test_a_slip_is_near_to_a_name_sent_before(name, like):
    assert new_names([name], {"Order Placed", "Tier 10 Reached"}) == [NewName(name, like)]


def test_only_what_was_never_sent_is_new():
    assert new_names(["b", "a", "c", "b"], {"b": 5}) == [NewName("a"), NewName("c")]
    assert new_names(["a"], {"a"}) == new_names([], {"a"}) == []
    many = [f"Order {i}x" for i in range(2_000)]
    assert len(new_names(many, {f"order {i} y" for i in range(2_000)})) == 2_000
