"""A store whose writes are noted in the egress log before they go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from collegium.egress import EgressLog, origin_of
from collegium.errors import CollegiumError
from collegium.files import explain_disk
from collegium.observability import metrics
from collegium.storage.cid import Cid, Content, cid_of
from collegium.storage.store import Store

__all__ = ["RecordedStore", "backend_of"]

_BACKENDS = {"RemoteStore": "embedded", "KuboStore": "kubo", "BlobFolder": "folder", "GatewayStore": "gateway"}


def backend_of(store: object) -> str:
    """What kind of store it is, as a label."""
    return _BACKENDS.get(type(store).__name__, "other")


class RecordedStore:
    """`store` with a line in `egress` ahead of every `put`; reading passes through."""

    def __init__(self, store: Store, egress: EgressLog) -> None:
        self._store, self._egress = store, egress

    @property
    def name(self) -> str:
        return self._store.name

    def put(self, data: Content) -> Cid:
        """Raises DiskError when the line cannot be written; nothing is sent then."""
        size = data.stat().st_size if isinstance(data, Path) else memoryview(data).nbytes
        cid = cid_of(data)
        self._egress.record("blob", origin_of(self._store.name), cid=cid.text, size=size)
        result, started = "ok", time.monotonic()
        try:
            return self._store.put(data)
        except CollegiumError as error:
            result = error.code
            raise
        except OSError as error:
            # A folder of this machine; stores elsewhere have their own errors.
            result = "disk"
            raise explain_disk(error) or error from error
        finally:
            metrics.count("ipfs_requests_total", op="put", backend=backend_of(self._store), result=result)
            if result == "ok":
                metrics.count("ipfs_bytes_total", size, dir="out")
                metrics.observe("client_upload_duration_seconds", time.monotonic() - started)

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        return self._store.get(cid, max_bytes=max_bytes)

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        return self._store.stream(cid, max_bytes=max_bytes)

    def has(self, cid: Cid) -> bool:
        return self._store.has(cid)
