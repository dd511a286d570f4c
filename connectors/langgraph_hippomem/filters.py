"""LangGraph's filters: on the values of items, and on namespaces."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from langgraph.store.base import MatchCondition

from hippomem import InvalidInputError

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def matches(value: Mapping[str, Any], conditions: Mapping[str, Any] | None) -> bool:
    """Whether an item's value meets all conditions: equal, or by $eq, $ne, $gt, $gte, $lt, $lte.

    What is no number is neither greater nor less than anything. Raises InvalidInputError for an operator that there is
    not, or a bound that is no number.
    """
    return all(_meets(value.get(name), condition) for name, condition in (conditions or {}).items())


def fits(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    """Whether a namespace begins or ends with a path, in which "*" is any label."""
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


def _meets(value: Any, condition: Any) -> bool:
    if isinstance(condition, Mapping):
        if any(str(name).startswith("$") for name in condition):
            return all(_compares(value, name, bound) for name, bound in condition.items())
        return isinstance(value, Mapping) and all(_meets(value.get(name), inner) for name, inner in condition.items())
    if isinstance(condition, list | tuple):
        return isinstance(value, list | tuple) and len(value) == len(condition) and all(map(_meets, value, condition))
    return bool(value == condition)


def _compares(value: Any, name: str, bound: Any) -> bool:
    if name == "$eq":
        return bool(value == bound)
    if name == "$ne":
        return bool(value != bound)
    if name not in _COMPARE:
        raise InvalidInputError(f"there is no operator {name!r}: there are $eq, $ne, {', '.join(_COMPARE)}")
    limit = _number(bound)
    if limit is None:
        raise InvalidInputError(f"{name} takes a number, not {bound!r}")
    number = _number(value)
    return number is not None and _COMPARE[name](number, limit)


def _number(value: Any) -> float | None:
    if isinstance(value, int):
        return value  # as it is: it may be larger than any float
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
