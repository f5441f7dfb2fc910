"""A private swarm of Kubo daemons: the key that admits, and the settings that keep a daemon to its members.

Users run Kubo themselves; this writes a repository for it that listens to members only, knows no public node, and
opens RPC and gateway on loopback alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from collegium.errors import KeyExistsError, KeystoreError, UsageError
from collegium.files import write_atomically
from collegium.storage.errors import KuboFailedError, StoreFolderError
from collegium.storage.kubo_daemon import PRIVATE_CONFIG, create_swarm_key, find_kubo, merge_config

__all__ = ["SwarmNode", "init_swarm", "read_swarm_key"]

LISTEN = "/ip4/0.0.0.0/tcp/4001"
_KEY = re.compile(r"/key/swarm/psk/1\.0\.0/\r?\n/base16/\r?\n[0-9a-f]{64}\s*", re.ASCII)
_ADDRESS = re.compile(
    r"/(?:(ip4|ip6)/([0-9a-fA-F.:]{2,45})|dns[46]?/([A-Za-z0-9.-]{1,253}))/tcp/([0-9]{1,5})(?:/p2p/([A-Za-z0-9]{40,64}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class SwarmNode:
    """A repository of a private swarm. addresses: for the others' peers; empty for one that only dials.

    key: file that admits to the swarm; every member needs a copy, and nobody else may have one.
    """

    repository: Path
    peer_id: str
    key: Path
    is_new_key: bool
    addresses: tuple[str, ...]
    peers: tuple[str, ...]
    uri: str
    """Of its RPC, for `open_store`."""

    @property
    def command(self) -> str:
        """What starts the daemon."""
        return f"IPFS_PATH={self.repository} LIBP2P_FORCE_PNET=1 ipfs daemon"


def read_swarm_key(path: Path) -> str:
    """The content of a `swarm.key`.

    Raises:
        KeystoreError: it cannot be read or is none.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise KeystoreError(f"The swarm key {path} cannot be read: {why}.", hint="Ask a member for a copy.") from error
    if not _KEY.fullmatch(text):
        raise KeystoreError(
            f"{path} is no swarm key.", hint="It has three lines: /key/swarm/psk/1.0.0/, /base16/, 64 hex digits."
        )
    return text.strip() + "\n"


def init_swarm(
    repository: Path,
    *,
    key: Path | None = None,
    listen: str | None = LISTEN,
    peers: Sequence[str] = (),
    api_port: int = 5001,
    gateway_port: int = 8080,
    executable: Path | str | None = None,
) -> SwarmNode:
    """Write key and settings of a daemon; again with more peers it adds them.

    key: of the swarm; None makes a new one, or keeps the one that is there. listen: multiaddress for members, None
    only dials. peers: multiaddresses with /p2p/ of members that listen.

    Raises:
        KeyExistsError: the repository is of another swarm. KeystoreError: key is none.
        UsageError: an address is none. KuboMissingError, KuboFailedError: no `ipfs`, or it refuses.
        StoreFolderError: the repository is one of a public node.
    """
    for address in peers:
        _check_address(address, is_peer=True)
    if listen is not None:
        _check_address(listen, is_peer=False)
    repository = repository.expanduser().absolute()
    kubo = find_kubo(executable)
    secret, is_new = _choose_key(repository / "swarm.key", key)
    is_fresh = not (repository / "config").exists()
    if is_fresh:
        _init_repository(kubo, repository)
    elif not (repository / "swarm.key").exists():
        raise StoreFolderError(
            f"{repository} is the repository of a Kubo without a swarm key.",
            hint="Name a new folder: what that one holds may be public already.",
            path=str(repository),
        )
    # The key first: a daemon started in between must not meet the public network.
    write_atomically(repository / "swarm.key", secret.encode(), mode=0o600)
    config = json.loads((repository / "config").read_text())
    merge_config(config, PRIVATE_CONFIG)
    known = [f"{peer['Addrs'][0]}/p2p/{peer['ID']}" for peer in (config.get("Peering") or {}).get("Peers") or []]
    everyone = tuple(dict.fromkeys([*known, *peers]))
    merge_config(config, _settings(listen, everyone, api_port, gateway_port))
    write_atomically(repository / "config", json.dumps(config, indent=2).encode(), mode=0o600)
    peer_id = str(config["Identity"]["PeerID"])
    addresses = (f"{listen}/p2p/{peer_id}",) if listen else ()
    return SwarmNode(
        repository, peer_id, repository / "swarm.key", is_new, addresses, everyone, f"kubo://127.0.0.1:{api_port}"
    )


def _choose_key(there: Path, given: Path | None) -> tuple[str, bool]:
    """The key to use, and whether it was just made."""
    secret = read_swarm_key(given) if given is not None else None
    if there.exists():
        known = read_swarm_key(there)
        if secret is not None and secret != known:
            raise KeyExistsError(
                f"{there} is the key of another swarm.", hint="Name another folder; one daemon is in one swarm."
            )
        return known, False
    return (secret, False) if secret is not None else (create_swarm_key(), True)


def _settings(listen: str | None, peers: Sequence[str], api_port: int, gateway_port: int) -> Mapping[str, Any]:
    split = [address.rpartition("/p2p/") for address in peers]
    return {
        "Addresses": {
            "API": f"/ip4/127.0.0.1/tcp/{api_port}",
            "Gateway": f"/ip4/127.0.0.1/tcp/{gateway_port}",
            "Swarm": [listen] if listen else [],
        },
        "Peering": {"Peers": [{"ID": peer, "Addrs": [address]} for address, _, peer in split]},
    }


def _check_address(address: str, *, is_peer: bool) -> None:
    found = _ADDRESS.fullmatch(address)
    is_valid = found is not None and int(found[4]) < 1 << 16 and bool(found[5]) == is_peer
    if found is not None and found[1]:
        try:
            is_valid = is_valid and ip_address(found[2]).version == int(found[1][2])
        except ValueError:
            is_valid = False
    if not is_valid:
        like = "/dns4/coordinator.example/tcp/4001/p2p/12D3KooW…" if is_peer else LISTEN
        raise UsageError(f"{address[:200]!r} is no address of a swarm.", hint=f"Write it like {like}.")


def _init_repository(kubo: Path, repository: Path) -> None:
    repository.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = subprocess.run(
        [str(kubo), "init", "--empty-repo"], env={**os.environ, "IPFS_PATH": str(repository), "IPFS_TELEMETRY": "off"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if made.returncode:
        raise KuboFailedError(
            f"`ipfs init` failed: {made.stderr.strip()[-500:]}", hint="Name a new folder, or another Kubo."
        )
