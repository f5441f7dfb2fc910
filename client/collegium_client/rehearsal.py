"""Everything that one round would make leave the hospital, byte for byte, without signing or sending any of it.

The same functions as in a real round pack the bytes; what only the chain or a key can add (the round's context, the
seat, signatures) is zero and named in `open_fields`. Files and offsets are listed for people.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from collegium.chain.abi import interface
from collegium.chain.abi import to_jsonable as plain_json
from collegium.commitment import compute_commitment, compute_ext, compute_seal
from collegium.encoding import HEADER_BYTES, BlobKind, FormatTable, pack_blob
from collegium.messages import (
    Domain,
    digest,
    pack_attestations,
    pack_commits,
    pack_endorsements,
    pack_reveals,
    type_string,
)
from collegium.records import (
    ZERO32,
    ZERO_ADDRESS,
    Attestation,
    Endorsement,
    ExtFields,
    Join,
    Message,
    Reveal,
    Signed,
    Update,
)
from collegium.storage import Cid, cid_of
from collegium.tree import root_of

__all__ = ["Bytes", "Leaving", "Part", "Rehearsal", "Situation", "rehearse"]

NO_SIGNATURE = bytes(64)


@dataclass(frozen=True)
class Part:
    """`length` bytes at `offset` of a file, and what they are. value: shown for short ones."""

    offset: int
    length: int
    name: str
    meaning: str
    value: str = ""


@dataclass(frozen=True)
class Bytes:
    """A file of exactly what would leave."""

    name: str
    content: bytes
    parts: tuple[Part, ...]

    @property
    def sha256(self) -> str:
        """In hex."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def cid(self) -> Cid:
        """Where a store would keep it."""
        return cid_of(self.content)


@dataclass(frozen=True)
class Leaving:
    """One act of a round: what goes where, when, and who then sees it."""

    act: str
    phase: str
    seen_by: str
    routes: tuple[tuple[str, Bytes], ...]
    """(destination, exact body): an HTTP request to each coordinator or store, a transaction to the chain's node."""
    signed: tuple[tuple[str, Message], ...] = ()
    """(signing key, content) of each signature that it carries."""
    open_fields: tuple[str, ...] = ()
    """What is zero here because only the chain or a key knows it."""


@dataclass(frozen=True)
class Situation:
    """What is known of the study and this hospital; zeros stand for what is not."""

    table: FormatTable
    study_id: int = 0
    round: int = 1
    ctx: bytes = ZERO32
    index: int = 0
    plan_hash: bytes = ZERO32
    agreement: bytes = ZERO32
    max_fine: int = 0
    institution: str = ZERO_ADDRESS
    node_key: str = ZERO_ADDRESS
    domain: Domain | None = None
    coordinators: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    rpc_url: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """All of a round."""

    blob: Bytes
    root: bytes
    commitment: bytes
    leaving: tuple[Leaving, ...]
    open_fields: tuple[str, ...] = field(default=())

    def files(self) -> list[Bytes]:
        """Every distinct file, in order."""
        found = {each.name: each for act in self.leaving for _, each in act.routes}
        return list(found.values())


def rehearse(situation: Situation, elements: Any, *, weight: int, steps: int, salt: bytes) -> Rehearsal:
    """Pack what a round with these update elements (int32, payload order) would send.

    salt: 32 bytes; a real round derives its own, secret until the reveal.
    """
    s = situation
    content = pack_blob(
        BlobKind.UPDATE, elements, format_id=s.table.format_id, ctx=s.ctx, index=s.index, salt=salt
    )
    blob = Bytes("update.blob", content, _blob_parts(s.table, len(content)))
    root, cid = root_of(elements), blob.cid
    ext = ExtFields(0, s.round, steps, ZERO32)
    commitment = compute_commitment(s.ctx, s.index, root, compute_seal(salt, cid.digest))
    update = Update(s.study_id, s.round, s.ctx, s.index, commitment, weight, compute_ext(ext))
    reveal = Reveal(s.index, salt, root, cid.digest, weight, ext)
    attestation = Attestation(s.study_id, s.round, s.ctx, s.index, 0, ZERO32)
    endorsement = Endorsement(s.study_id, s.round, s.ctx, s.index, ZERO32)
    unknown = tuple(name for name, value in (("study", s.study_id), ("ctx", any(s.ctx))) if not value)
    acts = (
        _join(s),
        Leaving(
            "commit to the update", "commit", "anyone, for ever: on the chain", _carried(s, "commit", "updates",
            "commitUpdates", pack_commits([Signed(update, NO_SIGNATURE)]), _COMMIT), (("node key", update),),
            (*unknown, "signature"),
        ),
        Leaving(
            "give the update to the stores", "reveal", "anyone who reads the stores",
            tuple((f"{store}  PUT /v1/blobs/{cid}" if store.startswith("http") else store, blob)
                  for store in s.stores or ("(no store is configured)",)),
            (), (*unknown, "the store's write headers: node key, time, study, signature"),
        ),
        Leaving(
            "open the commitment", "reveal", "anyone, for ever: on the chain",
            _carried(s, "reveal", "reveals", "revealUpdates", pack_reveals([reveal]), _REVEAL), (),
            (*unknown, "salt (here a random one, in a round one of its own)"),
        ),
        Leaving(
            "attest the others' updates", "certify", "coordinators, then anyone: on the chain",
            _carried(s, "attest", "attestations", "certify", pack_attestations([Signed(attestation, NO_SIGNATURE)]),
                     _ATTEST), (("node key", attestation),), (*unknown, "bitmap", "setHash", "signature"),
        ),
        Leaving(
            "endorse the new model", "challenge", "anyone, for ever: on the chain",
            _carried(s, "endorse", "endorsements", "endorse", pack_endorsements([Signed(endorsement, NO_SIGNATURE)]),
                     _ENDORSE), (("node key", endorsement),), (*unknown, "proposal", "signature"),
        ),
    )  # fmt: skip
    return Rehearsal(blob, root, commitment, acts, unknown)


def _join(s: Situation) -> Leaving:
    message = Join(s.study_id, s.plan_hash, s.institution, s.node_key, s.max_fine, s.agreement, True, 0, 0)
    data = interface("Collegium").function("join").encode((message, NO_SIGNATURE))
    parts = (
        Part(0, 4, "selector", "Collegium.join", data[:4].hex()),
        Part(4, 32, "studyId", "which study", str(s.study_id)),
        Part(36, 32, "planHash", "the whole plan, agreed to", s.plan_hash.hex()),
        Part(68, 32, "institution", "address of the institution's key", s.institution),
        Part(100, 32, "nodeKey", "address of the key that signs rounds", s.node_key),
        Part(132, 32, "maxFine", "stake that the study may cost, in units of 10^-18", str(s.max_fine)),
        Part(164, 32, "agreement", "sha256 of the agreement", s.agreement.hex()),
        Part(196, 32, "openUpdates", "that updates become public is accepted", "true"),
        Part(228, 64, "nonce, deadline", "against replays"),
        Part(292, len(data) - 292, "signature", "of the institution key, with its offset and length"),
    )
    route = (f"{s.rpc_url or '(the chain)'}  transaction to Collegium", Bytes("join.calldata", data, parts))
    return Leaving(
        "join the study, once", "before the first round", "anyone, for ever: on the chain", (route,),
        (("institution key", message),), ("nonce", "deadline", "signature"),
    )  # fmt: skip


_COMMIT = (
    (2, "index", "seat of this hospital"),
    (32, "commitment", "hides the update until the reveal"),
    (4, "weight", "number of examples, rounded to a power of 1.25"),
    (32, "ext", "hash of privacy profile, base round and steps"),
    (64, "signature", "of the node key; zero here"),
)
_REVEAL = (
    (2, "index", "seat of this hospital"),
    (32, "salt", "opens the commitment"),
    (32, "root", "hash tree over the update"),
    (32, "contentDigest", "sha256 of the blob's CID"),
    (4, "weight", "number of examples, rounded to a power of 1.25"),
    (2, "dpProfile", "privacy profile; 0 is none"),
    (4, "baseRound", "round whose model was trained on"),
    (4, "localSteps", "optimizer steps that were taken"),
    (32, "extras", "unused"),
)
_ATTEST = (
    (1, "index", "seat of this hospital"),
    (16, "bitmap", "whose updates it could fetch and check"),
    (64, "signature", "of the node key; zero here"),
)
_ENDORSE = ((1, "index", "seat of this hospital"), (64, "signature", "of the node key; zero here"))


def _carried(
    s: Situation, name: str, topic: str, function: str, item: bytes, layout: Sequence[tuple[int, str, str]]
) -> tuple[tuple[str, Bytes], ...]:
    """The item in the request to each coordinator, and in the transaction that carries it when none does."""
    request: dict[str, Any] = {"study": s.study_id, "round": s.round, "item": item.hex()}
    if topic == "endorsements":
        request["proposal"] = ZERO32.hex()
    body = json.dumps(request).encode()
    at = body.index(item.hex().encode())
    http = Bytes(f"{name}.request.json", body, tuple(_parts(layout, item, at, scale=2)))
    words: tuple[Any, ...] = (s.study_id, item)
    data = interface("Collegium").function(function).encode(words)
    head = (
        Part(0, 4, "selector", f"Collegium.{function}", data[:4].hex()),
        Part(4, 32, "studyId", "which study", str(s.study_id)),
        Part(36, data.index(item, 36) - 36, "offset, length", "of the packed item"),
    )
    end = data.index(item, 36) + len(item)
    tail = (Part(end, len(data) - end, "padding", "zero, to whole words"),) if end < len(data) else ()
    calldata = Bytes(f"{name}.calldata", data, (*head, *_parts(layout, item, end - len(item)), *tail))
    routes = [(f"{url}  POST /v1/{topic}", http) for url in s.coordinators]
    routes.append((f"{s.rpc_url or '(the chain)'}  transaction to Collegium, by a coordinator or by us", calldata))
    return tuple(routes)


def _parts(layout: Sequence[tuple[int, str, str]], item: bytes, at: int, *, scale: int = 1) -> list[Part]:
    found, offset = [], 0
    for length, name, meaning in layout:
        value = item[offset : offset + length]
        shown = str(int.from_bytes(value, "big")) if length <= 4 else value.hex()
        found.append(Part(at + scale * offset, scale * length, name, meaning, shown))
        offset += length
    return found


def _blob_parts(table: FormatTable, size: int) -> tuple[Part, ...]:
    parts = [
        Part(0, 12, "magic, version, kind", "an update blob of Collegium"),
        Part(12, 32, "formatId", "hash of the format table", table.format_id.hex()),
        Part(44, 32, "ctx", "the round's context; zero while it is unknown"),
        Part(76, 2, "index", "seat of this hospital"),
        Part(78, 32, "salt", "opens the commitment"),
        Part(110, 8, "length", "bytes of the payload", str(size - HEADER_BYTES)),
        Part(118, HEADER_BYTES - 118, "reserved", "zero"),
    ]
    at = HEADER_BYTES
    for name, shape in table.tensors:
        count = 1
        for side in shape:
            count *= side
        said = f"trained minus base weights, {count} int32 little-endian, each times 2^-{table.exponent}"
        parts.append(Part(at, 4 * count, name, said))
        at += 4 * count
    if at < size:
        parts.append(Part(at, size - at, "padding", "zero"))
    return tuple(parts)


def typed_data(message: Message, domain: Domain | None) -> dict[str, Any]:
    """What a key signs (EIP-712), for people: type, fields and, where the chain is known, domain and digest."""
    kind: Any = type(message)
    fields = {name: getattr(message, name) for name in kind.field_types() if name not in kind.unsigned_fields}
    # Beyond 2^53 a JSON reader may round: such numbers are written as text, here as in every command.
    fields = {name: str(v) if type(v) is int and v >= 1 << 53 else v for name, v in fields.items()}
    shown: dict[str, Any] = {
        "primaryType": message.primary_type,
        "type": type_string(kind),
        "message": plain_json(fields),
    }
    if domain is not None:
        named = {"name": "Collegium", "version": "1", "chainId": domain.chain_id, "verifyingContract": domain.contract}
        shown |= {"domain": named, "digest": "0x" + digest(message, domain).hex()}
    return shown


def check_parts(file: Bytes) -> None:
    """Raise ValueError unless the parts of a binary file cover each of its bytes exactly once."""
    at = 0
    for part in file.parts:
        if part.offset != at or part.length <= 0:
            raise ValueError(f"{file.name}: {part.name} is at {part.offset}, not at {at}")
        at += part.length
    if at != len(file.content):
        raise ValueError(f"{file.name}: {len(file.content) - at} bytes are not explained")
