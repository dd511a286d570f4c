"""What a failed call of a chat model means: whether the same call may succeed later, and when."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from hippomem.neocortex.json_reader import as_number

BUSY = frozenset({429, 503, 529})
TRANSIENT = frozenset({408, 409, 425})  # and everything from 500 on
SETUP = frozenset({401, 402, 403, 404, 405})
# What providers call a 400 that is about the settings, not about what was asked: OpenAI's, of an option that the model
# does not take, as a temperature, and of the model; and how Google and xAI tell that a key is wrong.
SETUP_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "model_not_found"})
ABOUT_KEY = re.compile(r"(?:incorrect|invalid|no|not valid)[ _]api[ _]key|api[ _]key[ _](?:not valid|invalid)", re.I)
LONGEST_WISH = 600.0  # seconds that a server may ask us to wait


class Kind(StrEnum):
    """Why a call failed."""

    busy = "busy"  # too many requests, too much load: whatever is asked
    passing = "passing"  # a fault of the server
    late = "late"  # no answer within the time-out
    unreachable = "unreachable"  # nobody there: no call was made
    refused = "refused"  # this very call, and it will be again
    setup = "setup"  # every call: the key, the name of the model, the account
    odd = "odd"  # anything else: an answer that the client could not read


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind, and the seconds after which the server wants to be asked again, where it says so."""

    kind: Kind
    wait: float | None = None

    @property
    def is_servers(self) -> bool:
        """Whether it is the server's, as far as one call can tell: it may pass by itself."""
        return self.kind in (Kind.busy, Kind.passing, Kind.late, Kind.unreachable)


def fault_of(error: BaseException) -> Fault:
    """What an exception of any provider's package means."""
    status = status_of(error)
    if status is not None:
        if status in SETUP or is_out_of_credit(error) or is_about_key(error) or _codes(error) & SETUP_CODES:
            return Fault(Kind.setup)
        if status in BUSY:
            return Fault(Kind.busy, _wish(error))
        if status in TRANSIENT or status >= 500:
            return Fault(Kind.passing, _wish(error))
        return Fault(Kind.refused) if status >= 400 else Fault(Kind.odd)
    if is_late(error):
        return Fault(Kind.late)
    # An address without http://, a key that no header can hold: nobody was asked, nor ever will be.
    if any(_says(cause, "UnsupportedProtocol", "LocalProtocol", "InvalidURL") for cause in causes(error)):
        return Fault(Kind.setup)
    if any(_says(cause, "ConnectError", "gaierror", "ConnectionRefused") for cause in causes(error)):
        return Fault(Kind.unreachable)
    is_cut = isinstance(error, OSError) or _says(error, "Connect", "ReadError", "WriteError", "RemoteProtocol")
    return Fault(Kind.passing if is_cut else Kind.odd)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error is about, or the one that it was raised for, as a provider's package tells it."""
    return next((status for cause in causes(error) if (status := _own_status(cause)) is not None), None)


def body_of(error: BaseException) -> str:
    """What a server said in its answer, as the package of OpenAI and those made like it keep it; "" without one."""
    body = getattr(error, "body", None)
    told = body.get("message") if isinstance(body, Mapping) else body
    return told if isinstance(told, str) else json.dumps(body, ensure_ascii=False, default=str) if body else ""


def is_out_of_credit(error: BaseException) -> bool:
    """Whether nothing is left to pay the provider with."""
    return status_of(error) == 402 or "insufficient_quota" in _codes(error)


def is_about_key(error: BaseException) -> bool:
    """Whether a 400 is one for the wrong key."""
    return status_of(error) == 400 and bool(ABOUT_KEY.search(f"{error} {body_of(error)}"))


def is_late(error: BaseException) -> bool:
    """Whether there was no answer in time."""
    return isinstance(error, TimeoutError) or _says(error, "Timeout")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came of."""
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _own_status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    told = [getattr(error, "status_code", None), getattr(response, "status_code", None), getattr(error, "code", None)]
    # LangChain's ValueError for an answer that is an error though its status is 200, as OpenRouter's may be.
    told += [cause.get("code") for cause in error.args[:1] if isinstance(cause, Mapping)]
    if isinstance(response, Mapping):  # botocore's
        told.append((response.get("ResponseMetadata") or {}).get("HTTPStatusCode"))
    found = (as_number(code) for code in told)
    return next((int(code) for code in found if code is not None and 100 <= code < 600), None)


def _codes(error: BaseException) -> set[str]:
    told = (getattr(cause, name, None) for cause in causes(error) for name in ("code", "type"))
    return {code for code in told if isinstance(code, str)}


def _says(error: BaseException, *names: str) -> bool:
    return any(name in type(error).__name__ for name in names)


def _wish(error: BaseException) -> float | None:
    said = (getattr(getattr(cause, "response", None), "headers", None) for cause in causes(error))
    headers = next(filter(None, said), None)
    try:
        seconds = _seconds(headers) if headers else None
    except (TypeError, ValueError, AttributeError):  # nothing, or nothing that can be read
        return None
    return min(max(0.0, seconds), LONGEST_WISH) if seconds is not None and seconds == seconds else None


def _seconds(headers: Any) -> float:
    """The seconds, or those from the server's own date to the one that it names: clocks differ."""
    told = headers.get("retry-after")
    if not str(told)[:1].isalpha():
        return float(told)
    return (parsedate_to_datetime(told) - parsedate_to_datetime(headers.get("date"))).total_seconds()
