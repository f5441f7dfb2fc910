"""One valid input for every decoder."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np

from collegium.encoding import BlobKind, FormatTable, pack_blob
from collegium.messages import (
    Domain,
    pack_attestations,
    pack_commits,
    pack_endorsements,
    pack_reveals,
    sign_message,
)
from collegium.records import Attestation, Endorsement, ExtFields, Mode, Optimizer, Plan, Reveal, Rule, Update
from collegium.storage.car import CarWriter
from collegium.storage.cid import Cid, cid_of
from collegium.storage.unixfs import Importer
from collegium.tree import ChunkTree

KEY = hashlib.sha256(b"fuzz").digest()
TABLE = FormatTable([("layer.weight", (10, 13)), ("layer.bias", (7,))], exponent=16, bound=1 << 20)
FORMAT = TABLE.format
DOMAIN = Domain(31337, "0x00000000000000000000000000000000000000C0")
CTX = b"\5" * 32
ELEMENTS = np.arange(TABLE.elements, dtype="<i4")
ELEMENTS[TABLE.count :] = 0
BLOB = pack_blob(BlobKind.UPDATE, ELEMENTS, format_id=TABLE.format_id, ctx=CTX, index=1, salt=b"\6" * 32)
TREE = ChunkTree.build(ELEMENTS)
UPDATE = Update(1, 2, CTX, 1, b"\7" * 32, 5, b"\2" * 32)
SIGNED = sign_message(UPDATE, DOMAIN, KEY)
COMMITS = pack_commits([SIGNED, sign_message(replace(UPDATE, index=2), DOMAIN, KEY)])
REVEALS = pack_reveals([Reveal(1, b"\6" * 32, TREE.root, cid_of(BLOB).digest, 5, ExtFields(0, 0, 1, bytes(32)))])
ATTESTATIONS = pack_attestations([sign_message(Attestation(1, 2, CTX, 1, 3, b"\1" * 32), DOMAIN, KEY)])
ENDORSEMENTS = pack_endorsements([sign_message(Endorsement(1, 2, CTX, 1, b"\1" * 32), DOMAIN, KEY)])

PLAN = Plan(
    mode=Mode.OPEN, rule=Rule.WEIGHTED_MEAN, optimizer=Optimizer.FEDAVG, rate_numerator=1, rate_denominator=1,
    format_id=TABLE.format_id, genesis_model_root=TREE.root, genesis_model_digest=b"\3" * 32, task_digest=b"\4" * 32,
    referee="0x00000000000000000000000000000000000000AA", min_clients=2, max_members=16, quorum_min=2, max_weight=100,
    commit_window=600, reveal_window=600, certify_window=600, propose_window=600, challenge_window=600,
    evidence_period=86400, aggregator_bond=1000, unrevealed_fine=10, range_fine=10, equivocation_fine=10, duty_fine=10,
    contradiction_fine=100, reward_terms=bytes(32), privacy_profiles_hash=bytes(32), agreement=bytes(32),
    plan_digest=b"\7" * 32,
)  # fmt: skip
PUBLISHED: dict[str, Any] = {
    "schema": "collegium.plan/1", "title": "t", "description": "d", "task": {"digest": "04" * 32},
    "format": {"exponent": 16, "bound": 1 << 20, "weighted": True, "tensors": json.loads(TABLE.canonical_json())},
    "rounds": {}, "money": {}, "terms": {}, "genesis": {"cid": "x", "seed": 0}, "retention": {"days": 30},
}  # fmt: skip
CONTRACT = {"address": "0x00000000000000000000000000000000000000AA", "transactionHash": "0x" + "11" * 32,
            "args": [["0x00000000000000000000000000000000000000AA"], 2], "block": 3}  # fmt: skip
DEPLOYMENT: dict[str, Any] = {
    "schema": "collegium.deployment/1", "chainId": 31337, "startBlock": 1,
    "deployer": "0x00000000000000000000000000000000000000AA", "compiler": {"version": "0.8.30"},
    "contracts": dict.fromkeys(("Collegium", "Refutations", "Referee", "Members", "Bonds", "CollegiumToken"), CONTRACT),
}  # fmt: skip


def blocks_of(data: bytes) -> dict[bytes, bytes]:
    """Blocks of a blob by digest; the root last."""
    found: dict[bytes, bytes] = {}
    importer = Importer(lambda cid, block: found.__setitem__(cid.digest, block))
    importer.feed(data)
    importer.finish()
    return found


LARGE = bytes((1 << 20) + 5)
LARGE_BLOCKS = blocks_of(LARGE)
NODE = LARGE_BLOCKS[cid_of(LARGE).digest]


def make_car() -> bytes:
    file = io.BytesIO()
    small: list[bytes] = [b"one", b"two" * 40, BLOB]
    writer = CarWriter(file, [cid_of(each) for each in small])
    for each in small:
        writer.add(cid_of(each), each)
    return file.getvalue()


CAR = make_car()
RAW_CID: Cid = cid_of(b"one")
HEADER: dict[str, Any] = {
    "number": "0x2", "hash": "0x" + "11" * 32, "parentHash": "0x" + "22" * 32, "sha3Uncles": "0x" + "33" * 32,
    "miner": "0x" + "44" * 20, "stateRoot": "0x" + "55" * 32, "transactionsRoot": "0x" + "66" * 32,
    "receiptsRoot": "0x" + "77" * 32, "logsBloom": "0x" + "00" * 256, "difficulty": "0x0", "gasLimit": "0x1c9c380",
    "gasUsed": "0x0", "timestamp": "0x65", "extraData": "0x", "mixHash": "0x" + "00" * 32, "nonce": "0x" + "00" * 8,
    "baseFeePerGas": "0x7", "withdrawalsRoot": "0x" + "88" * 32, "transactions": [],
}  # fmt: skip
LOG: dict[str, Any] = {"address": "0x" + "44" * 20, "topics": ["0x" + "11" * 32], "data": "0x" + "22" * 64}
RECEIPT: dict[str, Any] = {
    "type": "0x2", "status": "0x1", "cumulativeGasUsed": "0x5208", "logsBloom": "0x" + "00" * 256, "logs": [LOG],
    "transactionIndex": "0x0", "transactionHash": "0x" + "11" * 32,
}  # fmt: skip
TRANSACTION: dict[str, Any] = {
    "hash": "0x" + "11" * 32, "type": "0x2", "chainId": "0x7a69", "nonce": "0x1", "maxPriorityFeePerGas": "0x1",
    "maxFeePerGas": "0x2", "gas": "0x5208", "to": "0x" + "44" * 20, "value": "0x0", "input": "0x1234",
    "accessList": [{"address": "0x" + "44" * 20, "storageKeys": ["0x" + "11" * 32]}], "yParity": "0x1",
    "r": "0x" + "11" * 32, "s": "0x" + "22" * 32,
}  # fmt: skip
