"""Addresses as people give them, refused where they are read: who looks for one later would tell of other things."""

from __future__ import annotations

import re

HEAD = "HOST:PORT of a cluster's head, such as head:6379"
MOST_PORT = 65535
MAX_LENGTH = 2000
HOST = re.compile(r"\[[0-9a-fA-F:.%\w]+\]|[^/\s\[\]]+")
HOST_AND_PORT = re.compile(rf"({HOST.pattern}):(\d+)")


def port_wanted(port: int) -> str:
    """Say what a port must be, where it cannot be one; nothing where it can."""
    return "" if 1 <= port <= MOST_PORT else f"a port from 1 to {MOST_PORT}"


def head_wanted(address: str) -> str:
    """Say what the address of a cluster's head must be, where it cannot be one; nothing where it can."""
    found = HOST_AND_PORT.fullmatch(address) if len(address) <= MAX_LENGTH else None
    if found is None:
        return HEAD
    digits = found[2].lstrip("0")
    wanted = port_wanted(int(digits or "0") if len(digits) <= len(str(MOST_PORT)) else MOST_PORT + 1)
    return f"{HEAD}, with {wanted}" if wanted else ""


def host_wanted(host: str) -> str:
    """Say what a host must be, where it cannot be one; nothing where it can."""
    return "" if HOST.fullmatch(host) and len(host) <= MAX_LENGTH else "a host's name or address, such as 10.0.0.5"


def parts(address: str) -> tuple[str, int]:
    """Give host and port of an address that can be one, an IPv6 address without its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
