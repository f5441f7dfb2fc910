"""Blobs and where they are kept: naming by CID, stores, and the verification of whatever they serve."""

from __future__ import annotations

from collegium.storage.address import open_store, open_stores
from collegium.storage.cid import Cid, Content, cid_from_digest, cid_of, parse_cid
from collegium.storage.embedded import EmbeddedStoreServer, StoreRoutes
from collegium.storage.folder import BlobFolder
from collegium.storage.multi import MultiStore, PushReport
from collegium.storage.remote import RemoteStore
from collegium.storage.store import DigestSigner, Store

__all__ = [
    "BlobFolder",
    "Cid",
    "Content",
    "DigestSigner",
    "EmbeddedStoreServer",
    "MultiStore",
    "PushReport",
    "RemoteStore",
    "Store",
    "StoreRoutes",
    "cid_from_digest",
    "cid_of",
    "open_store",
    "open_stores",
    "parse_cid",
]
