"""Arrays in words, for what a notebook shows."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def shapes(owner: DataclassInstance) -> str:
    """``observation [41, 2], action [40, 2]``: shapes of the arrays among the fields of a dataclass."""
    values = ((field.name, getattr(owner, field.name)) for field in fields(owner))
    return ", ".join(f"{name} {list(value.shape)}" for name, value in values if hasattr(value, "shape"))
