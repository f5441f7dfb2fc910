"""Who takes part: names, homes, passwords, addresses."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["COORDINATORS", "HOSPITALS", "Party", "free_ports", "make_party"]

HOSPITALS = ("north", "east", "south", "west")
COORDINATORS = ("alder", "birch")
"""In the order in which they enlist: the first is on duty in even rounds, the second in odd ones."""


@dataclass
class Party:
    """One folder, one password, at most an institution key and a node key. url: of a coordinator's service."""

    name: str
    home: Path
    password_file: Path
    institution: str = ""
    node: str = ""
    url: str = ""
    hash_of: dict[str, str] = field(default_factory=dict)
    """What it did on chain, by step."""

    @property
    def environment(self) -> dict[str, str]:
        """What makes a command run as this party."""
        return {"COLLEGIUM_HOME": str(self.home), "COLLEGIUM_PASSWORD_FILE": str(self.password_file)}


def make_party(root: Path, name: str) -> Party:
    """A party with a fresh password in a file that nobody else reads."""
    password_file = root / "passwords" / name
    password_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_urlsafe(18) + "\n")
    return Party(name, root / "homes" / name, password_file)


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
