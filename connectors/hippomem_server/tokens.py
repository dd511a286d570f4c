"""Who may do what: bearer tokens, each for some namespaces, to read or to write. Only their SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, NotFoundError

ALL = "*"  # as a namespace: all of them
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
log = logging.getLogger("hippomem")


@dataclass(frozen=True, slots=True)
class Grant:
    """What the bearer of one token may do. `digest` is the SHA-256 of the token, in hex."""

    name: str
    digest: str
    namespaces: frozenset[str]
    may_write: bool

    def covers(self, namespace: str) -> bool:
        """Whether this namespace is one of its own."""
        return ALL in self.namespaces or namespace in self.namespaces


class Tokens:
    """The tokens that a server takes."""

    def __init__(self, grants: Sequence[Grant]) -> None:
        self._grants = tuple(grants)

    @classmethod
    def for_one_run(cls) -> tuple[Tokens, str]:
        """A token for everything, of which nobody but the caller knows, and the token itself."""
        token = secrets.token_urlsafe(32)
        return cls([Grant("this run", _digest(token), frozenset({ALL}), may_write=True)]), token

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Those of a TOML file, as `new_token` makes its entries. Warns where others may read or write the file.

        Raises NotFoundError where it is not there, and InvalidInputError where it holds anything else.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                found = tomllib.load(file)
        except FileNotFoundError:
            raise NotFoundError(f"there is no file of tokens {str(path)!r}: --new-token makes entries for it") from None
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"the tokens in {path} cannot be read: {error}") from None
        if os.name == "posix" and mode & _OTHERS:
            log.warning("the tokens in %s can be read or written by others: chmod 600 %s", path, path)
        entries = found.get("token")
        if set(found) != {"token"} or not isinstance(entries, list):
            raise InvalidInputError(f"{path} holds no [[token]], or more than that: --new-token makes entries for it")
        return cls([_grant(entry, f"{path}, token {number}") for number, entry in enumerate(entries, 1)])

    def grant(self, token: str) -> Grant | None:
        """What this token is for, None for nothing. All are compared, each in constant time."""
        digest = _digest(token)
        found = None
        for grant in self._grants:
            if hmac.compare_digest(digest, grant.digest):
                found = grant
        return found


def new_token(name: str, namespaces: Sequence[str], *, may_write: bool = True) -> tuple[str, str]:
    """A new token, and its entry for the file of tokens."""
    token = secrets.token_urlsafe(32)
    access = "write" if may_write else "read"
    # A JSON string is a TOML string, but for the one character that only JSON leaves bare.
    named = {"name": name, "sha256": _digest(token), "namespaces": list(namespaces), "access": access}
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in named.items())
    return token, "\n".join(["[[token]]", *lines, ""]).replace("\x7f", "\\u007f")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _grant(entry: Any, where: str) -> Grant:
    if not isinstance(entry, dict) or set(entry) != {"name", "sha256", "namespaces", "access"}:
        raise InvalidInputError(f"{where}: a token has name, sha256, namespaces and access, and nothing else")
    name, digest, namespaces, access = (entry[key] for key in ("name", "sha256", "namespaces", "access"))
    if not isinstance(name, str):
        raise InvalidInputError(f"{where}: name is no string")
    if not isinstance(digest, str) or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise InvalidInputError(f"{where}: sha256 is not the SHA-256 of a token in 64 hexadecimal digits")
    if not isinstance(namespaces, list) or not namespaces or not all(isinstance(one, str) for one in namespaces):
        raise InvalidInputError(f'{where}: namespaces is no list of names, such as ["default"]; ["*"] are all')
    if access not in ("read", "write"):
        raise InvalidInputError(f'{where}: access must be "read" or "write", which includes reading')
    return Grant(name, digest, frozenset(namespaces), access == "write")
