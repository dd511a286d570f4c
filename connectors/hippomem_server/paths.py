"""Where a request leads: the path by which routes are found, and in it the namespace, whose name may hold a slash."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.types import Scope

PREFIX = "v1"


def own_path(scope: Scope) -> str:
    """The path as routes are found by it: without what a server is mounted at, or a proxy has before it."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    below = path.removeprefix(root)
    return below if below.startswith("/") else path


def with_name_kept(scope: Scope) -> Scope:
    """The scope with the name of the namespace as one part of its path, of which `name_in` makes the name again.

    Servers decode a path before it is routed: the slash of a name, sent as %2F, would then divide it.
    """
    own = own_path(scope)
    name = _name(scope, own)
    kept = name.replace("%", "%25").replace("/", "%2F")
    if kept == name:
        return scope
    rest = own[len(f"/{PREFIX}/{name}") :]
    return {**scope, "path": f"{str(scope['path']).removesuffix(own)}/{PREFIX}/{kept}{rest}"}


def name_in(part: str) -> str:
    """The name of a namespace that is this part of a path."""
    return unquote(part)


def _name(scope: Scope, own: str) -> str:
    """The name as it was meant; empty where the path has none."""
    before = str(scope["path"]).removesuffix(own).count("/")
    raw = (scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1").split("/")[before + 1 :]
    parts = [unquote(part) for part in raw]
    if "/" + "/".join(parts) != own:  # no server has to tell how a path was sent
        parts = own.split("/")[1:]
    return parts[1] if len(parts) > 1 and parts[0] == PREFIX else ""
