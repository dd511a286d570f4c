"""Addresses to serve at: those that only this machine can reach, as a server on others needs to know who may ask."""

from __future__ import annotations

import ipaddress
import socket

from hippomem import InvalidInputError


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises InvalidInputError where it cannot, as where the port is taken."""
    try:
        bound = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = error.strerror or error
        raise InvalidInputError(
            f"{host}, port {port}, cannot be listened on ({reason}): give another --port or --host"
        ) from None
    # What it accepts inherits this. Else the end of each answer waits until the client has acknowledged its beginning,
    # 40 ms: asyncio sees to it only for sockets that it makes itself.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def url_of(host: str, port: int) -> str:
    """How a browser or a client names that place, without a `/` at the end."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
