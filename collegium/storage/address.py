"""Opening a store by its address."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from collegium.storage.errors import StoreAddressError
from collegium.storage.folder import BlobFolder
from collegium.storage.multi import MultiStore
from collegium.storage.remote import RemoteStore
from collegium.storage.store import DigestSigner, Store
from collegium.transport.client import Transport

__all__ = ["open_store", "open_stores"]

_HINT = (
    "Write file:///folder, http://host:port (an embedded store), kubo://host:port (the RPC of Kubo), "
    "gateway+https://host (a trustless gateway) or car:///file (an archive)."
)


def open_store(
    uri: str,
    signer: DigestSigner | None = None,
    study_id: int = 0,
    *,
    chain_id: int = 0,
    quota_bytes: int | None = None,
    timeout: float = 10.0,
    transport: Transport | None = None,
) -> Store:
    """The store at an address.

    uri: `file:///folder`; `car:///file`; `http[s]://host:port`; `kubo[+https]://[user:password@]host:port`;
    `gateway+http[s]://host[:port]`.
    signer, study_id, chain_id: for writing to an embedded store. quota_bytes: for a folder.
    timeout: seconds of silence after which a store counts as unreachable. transport: how servers are reached.

    Raises:
        StoreAddressError: the address cannot be understood.
        CarError: the archive is damaged.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise StoreAddressError(f"The store address is invalid: {error}.", hint=_HINT) from error
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise StoreAddressError(f"{uri!r} does not name a folder by its whole path.", hint=_HINT)
        return BlobFolder(Path(unquote(parts.path)), quota_bytes=quota_bytes)
    if parts.scheme == "car":
        return _open_archive(uri)
    if parts.scheme in ("http", "https"):
        return RemoteStore(uri, signer, study_id, chain_id=chain_id, timeout=timeout, transport=transport)
    if parts.scheme in ("gateway+http", "gateway+https"):
        from collegium.storage.gateway import GatewayStore

        proxies = transport.proxies if transport else None
        return GatewayStore(uri.removeprefix("gateway+"), timeout=timeout, proxies=proxies)
    if parts.scheme in ("kubo", "kubo+https"):
        if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise StoreAddressError("A Kubo address has a host and a port only.", hint=_HINT)
        from collegium.storage.kubo import KuboStore

        return KuboStore(
            parts.hostname,
            port or 5001,
            is_https=parts.scheme == "kubo+https",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            timeout=timeout,
        )
    raise StoreAddressError(f"No store is known for {parts.scheme or 'an address without a scheme'!r}.", hint=_HINT)


def open_stores(
    uris: Iterable[str],
    signer: DigestSigner | None = None,
    study_id: int = 0,
    *,
    chain_id: int = 0,
    timeout: float = 10.0,
    transport: Transport | None = None,
) -> MultiStore:
    """All stores of a list as one; the first is written to."""
    options: dict[str, Any] = {"chain_id": chain_id, "timeout": timeout, "transport": transport}
    return MultiStore([open_store(uri, signer, study_id, **options) for uri in uris])


def _open_archive(uri: str) -> Store:
    from collegium.storage.archive import CarStore

    parts = urlsplit(uri)
    if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise StoreAddressError(f"{uri!r} does not name a file by its whole path.", hint=_HINT)
    try:
        return CarStore(Path(unquote(parts.path)))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreAddressError(f"The archive {uri} cannot be read: {reason}.", hint="Check its path.") from error
