"""Fetching what a round is computed from, and believing none of it before it matches the chain.

Used by every role: members before they attest and endorse, the coordinator before it proposes, watchers and auditors.
A blob is taken from any store, its CID is derived again, its header must be that of the round, and its root must be
the one on chain. Range is checked apart (`collegium.verification.check_update`): out-of-range bytes are finable,
not unreadable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collegium.commitment import compute_format_hash
from collegium.encoding import HEADER_BYTES, BlobKind, map_elements
from collegium.errors import RootMismatchError
from collegium.records import ZERO32, Format
from collegium.storage.cid import Cid
from collegium.storage.folder import BlobFolder
from collegium.storage.multi import MultiStore
from collegium.tree import ChunkTree

__all__ = ["BlobSource", "FetchedBlob"]


@dataclass(frozen=True)
class FetchedBlob:
    """A verified blob: `elements` int32 [leaves * 64], mapped from its file; `tree` over them."""

    cid: Cid
    elements: NDArray[np.int32]
    tree: ChunkTree


@dataclass(frozen=True)
class BlobSource:
    """Where blobs of one study come from.

    folder: keeps what was fetched. stores: asked in order for what is not there.
    """

    folder: BlobFolder
    stores: MultiStore
    format: Format
    threads: int = 1

    @property
    def blob_bytes(self) -> int:
        return HEADER_BYTES + self.format.payload_bytes

    def update(self, cid: Cid, *, ctx: bytes, index: int, salt: bytes, root: bytes) -> FetchedBlob:
        """A member's update.

        Raises:
            BlobUnavailableError: no store gives it. BlobError, RootMismatchError: it is not what was revealed.
        """
        return self._fetch(cid, BlobKind.UPDATE, root, ctx=ctx, index=index, salt=salt)

    def model(self, cid: Cid, *, root: bytes, ctx: bytes | None = None) -> FetchedBlob:
        """A model; `ctx` is that of the round that produced it, zeros for genesis, None to accept any.

        Raises as `update`.
        """
        return self._fetch(cid, BlobKind.MODEL, root, ctx=ctx, index=0, salt=ZERO32)

    def mean(self, cid: Cid, *, root: bytes, ctx: bytes) -> FetchedBlob:
        """A round's mean. Raises as `update`."""
        return self._fetch(cid, BlobKind.MEAN, root, ctx=ctx, index=0, salt=ZERO32)

    def _fetch(
        self, cid: Cid, kind: BlobKind, root: bytes, *, ctx: bytes | None, index: int, salt: bytes
    ) -> FetchedBlob:
        path = self.stores.fetch(cid, self.folder, max_bytes=self.blob_bytes)
        elements = map_elements(
            path,
            kind=kind,
            format_id=compute_format_hash(self.format),
            ctx=ctx,
            index=index,
            salt=salt,
            payload_bytes=self.format.payload_bytes,
        )
        tree = ChunkTree.build(elements, threads=self.threads)
        if tree.root != root:
            raise RootMismatchError(
                f"Blob {cid} has another root than the chain says.",
                hint="The bytes match their CID, so whoever revealed this CID revealed a wrong root.",
                cid=cid.text,
                expected=root,
                actual=tree.root,
            )
        return FetchedBlob(cid, elements, tree)
