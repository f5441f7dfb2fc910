"""Small readings of foreign words: host names, texts of other programs, reasons of failures."""

from __future__ import annotations

from ipaddress import ip_address

__all__ = ["is_loopback", "printable", "reason_of"]


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def printable(text: str, limit: int) -> str:
    """At most `limit` characters of a foreign text, without control characters."""
    return "".join(char for char in text[:limit] if char.isprintable())


def reason_of(error: BaseException) -> str:
    """The innermost reason, without addresses of objects."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    text = str(error)
    return printable(text if text and " object at 0x" not in text else type(error).__name__, 200)
