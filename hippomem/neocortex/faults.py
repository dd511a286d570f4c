"""What a failed call of a chat model means: whether the same call may succeed later, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

BUSY = frozenset({429, 503, 529})
TRANSIENT = frozenset({408, 409, 425})  # and everything from 500 on
SETUP = frozenset({401, 402, 403, 404, 405})
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
        if status in SETUP or "insufficient_quota" in (getattr(error, "code", None), getattr(error, "type", None)):
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
    if isinstance(response, Mapping):  # botocore's
        told.append((response.get("ResponseMetadata") or {}).get("HTTPStatusCode"))
    return next((int(code) for code in told if isinstance(code, int) and 100 <= code < 600), None)


def _says(error: BaseException, *names: str) -> bool:
    return any(name in type(error).__name__ for name in names)


def _wish(error: BaseException) -> float | None:
    said = (getattr(getattr(cause, "response", None), "headers", None) for cause in causes(error))
    headers = next(filter(None, said), None)
    try:
        seconds = float(headers.get("retry-after")) if headers else None
    except (TypeError, ValueError, AttributeError):  # a date, or nothing
        return None
    return min(max(0.0, seconds), LONGEST_WISH) if seconds is not None and seconds == seconds else None
