"""Actors of the storage tests: members with keys, honest blocks, and servers that lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from collegium.messages import address_of, sign
from collegium.storage.cid import Cid
from collegium.storage.http_server import Body, HttpServer, Response
from collegium.storage.unixfs import Importer

CHAIN_ID = 31337
STUDY = 7
MIB = 1 << 20


class Member:
    """A node key that signs requests."""

    def __init__(self, number: int) -> None:
        self._key = number.to_bytes(32, "big")
        self.address = address_of(self._key)

    def sign_digest(self, digest: bytes, /) -> bytes:
        return sign(digest, self._key)


ALICE, BOB, MALLORY = Member(1), Member(2), Member(3)
ROSTER = {ALICE.address, BOB.address}


def is_member(key: str, study_id: int) -> bool:
    return study_id == STUDY and key in ROSTER


def keystream(seed: str, length: int) -> Iterator[bytes]:
    """The input of the IPIP-499 vectors: ChaCha20 keystream of sha256(seed), zero nonce, counter 0."""
    cipher = Cipher(ChaCha20(hashlib.sha256(seed.encode()).digest(), bytes(16)), mode=None).encryptor()
    while length:
        piece = cipher.update(bytes(min(length, MIB)))
        length -= len(piece)
        yield piece


@dataclass
class Blocks:
    """Blocks by digest, as a block-wise source; `altered` ones are served instead of the true ones."""

    by_digest: dict[bytes, bytes] = field(default_factory=dict)
    altered: dict[bytes, bytes] = field(default_factory=dict)
    asked: list[Cid] = field(default_factory=list)

    def add(self, data: bytes) -> Cid:
        importer = Importer(lambda cid, block: self.by_digest.update({cid.digest: block}))
        importer.feed(data)
        return importer.finish()

    def __call__(self, cid: Cid, limit: int, /) -> bytes:
        self.asked.append(cid)
        return self.altered.get(cid.digest) or self.by_digest[cid.digest]


@contextmanager
def server_answering(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """URL of a server that answers everything in one way."""

    def answer(method: str, path: str, asked: Mapping[str, str], sent: Body) -> Response:
        sent.read()
        return Response(status, {"Content-Length": str(len(body)), **(headers or {})}, body)

    server = HttpServer(answer)
    server.start()
    try:
        yield server.url
    finally:
        server.close(0.2)
