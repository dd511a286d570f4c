"""Whose a memory is: mem0's user, agent and run, as the source of a passage, and its filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hippomem import InvalidInputError

SCOPES = ("user_id", "agent_id", "run_id")
ROOT = "mem0:/"

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, bound: bool(value == bound),
    "ne": lambda value, bound: bool(value != bound),
    "in": lambda value, bound: value in bound,
    "nin": lambda value, bound: value not in bound,
    "gt": lambda value, bound: _is_like(value, bound) and bool(value > bound),
    "gte": lambda value, bound: _is_like(value, bound) and bool(value >= bound),
    "lt": lambda value, bound: _is_like(value, bound) and bool(value < bound),
    "lte": lambda value, bound: _is_like(value, bound) and bool(value <= bound),
    "contains": lambda value, bound: str(bound) in str(value),
    "icontains": lambda value, bound: str(bound).lower() in str(value).lower(),
}

_JOINED: Mapping[str, Callable[[Iterable[bool]], bool]] = {
    **dict.fromkeys(("AND", "$and"), all),
    **dict.fromkeys(("OR", "$or"), any),
    **dict.fromkeys(("NOT", "$not"), lambda met: not any(met)),
}


def scope_of(given: Mapping[str, Any]) -> dict[str, str]:
    """The ids among some arguments, as texts: a number may be one. Raises InvalidInputError where there is none of
    them, or one is empty or several.
    """
    scope = {}
    for name in SCOPES:
        value = given.get(name)
        if value is not None:
            scope[name] = str(value).strip()
            if not scope[name] or (isinstance(value, Iterable) and not isinstance(value, str)):
                raise InvalidInputError(f"{name} must be a text that is not empty, not {value!r}")
    if not scope:
        raise InvalidInputError(f"at least one of {', '.join(SCOPES)} is needed: whose memory is it?")
    return scope


def source_of(scope: Mapping[str, str]) -> str:
    """The source of what belongs to exactly these."""
    return ROOT + "/".join(_escaped(scope.get(name, "")) for name in SCOPES)


def below(scope: Mapping[str, str]) -> str:
    """What all sources of a user begin with; of everybody where no user is named."""
    return ROOT + (_escaped(scope["user_id"]) + "/" if "user_id" in scope else "")


def is_in(scope: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a memory's ids are those that are wanted, and possibly more."""
    return all(scope.get(name) == value for name, value in wanted.items())


def matches(fields: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    """Whether a memory meets mem0's filters: values, operators by name, AND, OR and NOT of lists. Numbers are greater
    or less than numbers, texts than texts, and nothing else is.

    Raises InvalidInputError for an operator that there is not, or one that does not go with its bound.
    """
    for name, condition in filters.items():
        if name in _JOINED:
            if not isinstance(condition, list | tuple) or not all(isinstance(one, Mapping) for one in condition):
                raise InvalidInputError(f"{name} takes a list of filters, not {condition!r}")
            met = _JOINED[name](matches(fields, one) for one in condition)
        elif isinstance(condition, Mapping):
            met = all(_meets(fields.get(name), operator, bound) for operator, bound in condition.items())
        else:
            met = (condition == "*" and name in fields) or fields.get(name) == condition
        if not met:
            return False
    return True


def _meets(value: Any, operator: str, bound: Any) -> bool:
    if operator not in _OPERATORS:
        raise InvalidInputError(f"there is no filter operator {operator!r}: there are {', '.join(_OPERATORS)}")
    try:
        return _OPERATORS[operator](value, bound)
    except TypeError as error:
        raise InvalidInputError(f"the filter {operator!r} does not go with {bound!r}: {error}") from None


def _is_like(value: Any, bound: Any) -> bool:
    """Whether a value can be greater or less than a bound; one memory's odd metadata must not end a search."""
    if not isinstance(bound, int | float | str):
        raise TypeError("it must be a number or a text")
    return isinstance(value, str if isinstance(bound, str) else int | float)


def _escaped(label: str) -> str:
    return label.replace("%", "%25").replace("/", "%2F") or "-"  # no source may end with a slash
