"""One value of an event, as a mapping gives it: the leaf that all the other models hold.

The field descriptions and examples are the reference: `schema` and `reference` render them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypeAliasType

__all__ = ["KINDS", "LEAF_KEYS", "Model", "Node", "Path", "Scalar", "Value"]

Path = tuple[str | int, ...]
"""Where something stands in the file: `("events", 0, "customer", "email")`."""

Scalar = str | int | float | bool

KINDS = ("string", "number", "integer", "boolean", "datetime", "date", "json")
LEAF_KEYS = ("column", "sql", "template", "const", "collect")


class Model(BaseModel):
    """Frozen, closed to unknown keys, and built when first used, which halves the time of the import."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Value(Model):
    """One leaf, with its short forms normalised. Exactly one of the LEAF_KEYS is set."""

    column: str | None = Field(
        None,
        description="The column whose own value this is; `a.b` reaches into a nested one.",
        examples=["phone"],
    )
    sql: str | None = Field(
        None, description="A Polars SQL expression over the columns.", examples=["discount > 0", "SUM(qty)"]
    )
    template: str | None = Field(
        None,
        description="A text with `{column}` in it; null when a column is. `{{` and `}}` are braces.",
        examples=["order:{order_id}"],
    )
    const: Scalar | None = Field(
        None, description="The same for every row; braces are plain text here.", examples=["USD", 1, True]
    )
    collect: dict[str, Node] | None = Field(
        None,
        description="Under `group_by` and in `$extra`: the list of the group's rows, each as this object.",
        examples=[{"Title": "{item}", "Quantity": {"column": "qty", "type": "integer"}}],
    )
    type: Literal["string", "number", "integer", "boolean", "datetime", "date", "json"] | None = Field(
        None,
        description="What to convert to. Fields that the API types need none. `json` is for `$extra`.",
        examples=["integer"],
    )
    format: str | None = Field(
        None,
        description="How the time is written: strptime directives, or `epoch_s`, `epoch_ms`.",
        examples=["%d.%m.%Y %H:%M", "epoch_s"],
    )
    timezone: str | None = Field(
        None, description="The zone of times that carry none; else the source's.", examples=["Europe/Berlin"]
    )
    region: str | None = Field(
        None, description="The country of phone numbers that carry no country code.", examples=["US"]
    )
    map: dict[str, Scalar] | None = Field(
        None,
        description="From each text to what it becomes; a value not in it is invalid, or `otherwise`.",
        examples=[{"g": "Gold", "s": "Silver"}],
    )
    otherwise: Value | None = Field(None, description="The value for what `map` does not hold.", examples=["Bronze"])
    default: Value | None = Field(None, description="The value for null.", examples=["unknown", "{other_column}"])
    required: bool = Field(False, description="Whether a null rejects the row.", examples=[True])
    on_invalid: Literal["reject", "omit"] | None = Field(
        None,
        description=(
            "A value that can't be converted: reject the row, or leave the key out and count it. "
            "`omit` for email and phoneNumber, else `reject`."
        ),
        examples=["omit"],
    )

    @model_validator(mode="after")
    def _one_leaf(self) -> Value:
        if sum(getattr(self, key) is not None for key in LEAF_KEYS) != 1:
            raise ValueError(f"exactly one of {', '.join(LEAF_KEYS)}")
        return self


# What `$extra` may hold. A YAML mapping with exactly one of LEAF_KEYS and otherwise only options is a Value;
# any other is an object.
Node = TypeAliasType("Node", "Value | dict[str, Node] | list[Node]")


Value.model_rebuild()
