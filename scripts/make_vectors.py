"""Make tests/vectors/*.json: the same numbers, hashes, bytes and verdicts for Python and Solidity.

    python -m scripts.make_vectors            write the files
    python -m scripts.make_vectors --check    fail when a committed file differs

Every family is parallel arrays ``in`` and ``out`` of hex strings: ``abi.encode`` of the tuples that ``types`` names, so
that a Solidity test decodes them in one call. Nothing is random: inputs are SHA-256 of their own names.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from collegium import commitment as hashes
from collegium import encoding, messages, phases, records, tree
from collegium.aggregation import compute_mean
from collegium.optimizer import SATURATION, compute_step
from collegium.records import (
    Admit,
    AllowReferee,
    Attestation,
    Endorsement,
    ExtFields,
    Format,
    Join,
    Member,
    Message,
    NodeKey,
    Outcome,
    Phase,
    Plan,
    Proposal,
    RecordProof,
    RemoveMember,
    Reveal,
    Section,
    Signed,
    Suspend,
    Update,
)
from collegium.tree import ChunkTree, Opening
from scripts import refutation_vectors
from scripts.vector_tools import (
    DOMAIN,
    Family,
    address,
    draw,
    extreme,
    families,
    make_format,
    make_plan,
    make_proposal,
    number,
    private_key,
)

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "vectors"
# Files


def make_encoding() -> dict[str, Any]:
    numbers = Family("uint64,uint8,uint32", "int32")
    floats = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -1.5, -2.5, 1e-300, -1e-300, 1e300, -1e300, math.pi]
    floats += [5e-324, 2.0**31, -(2.0**31), 2.0**31 - 1, 0.49999999999999994, 2**-17, 3 * 2**-17, -3 * 2**-17]
    for exponent, bound in ((0, 1), (0, 2**31 - 1), (16, 2**23), (24, 2**31 - 1), (62, 5)):
        table = encoding.FormatTable([("x", (1,))], exponent, bound)
        for value in (*floats, bound / 2.0**exponent, -bound / 2.0**exponent):
            element = int(encoding.encode_update({"x": np.array([value])}, table)[0])
            numbers.add((struct.unpack(">Q", struct.pack(">d", value))[0], exponent, bound), (element,))
    exports = Family("int32,uint8", "uint32")
    for element in (0, 1, -1, 2**24 + 1, -(2**24) - 1, 2**24 + 3, 2**31 - 1, -(2**31), 123456789):
        for exponent in (0, 16, 24, 62):
            table = encoding.FormatTable([("x", (1,))], exponent, 1)
            elements = np.zeros(64, dtype="<i4")
            elements[0] = element
            shown = encoding.export_model(elements, table)["x"][0]
            exports.add((element, exponent), (struct.unpack(">I", struct.pack(">f", shown))[0],))
    tables = Family("string,uint8,uint32,bool", "Format,bytes32")
    shapes: list[Any] = [
        [("weight", (3, 4)), ("bias", (4,))],
        [("a", ())],
        [("b", (64,)), ("a", (1,)), ('größe\n"', (2,))],
    ]
    for tensors in shapes:
        table = encoding.FormatTable(tensors, 16, 1 << 23)
        tables.add((table.canonical_json().decode(), 16, 1 << 23, True), (table.format, table.format_id))
    blobs = Family("uint16,bytes32,bytes32,uint16,bytes32,bytes", "bytes")
    for kind in (1, 2, 3, 4):
        index, salt = (127, draw("salt")) if kind == 2 else (0, records.ZERO32)
        payload = draw(f"payload/{kind}", 256 * kind)
        blob = encoding.pack_blob(
            encoding.BlobKind(kind),
            payload,
            format_id=draw("format"),
            ctx=draw("ctx"),
            index=index,
            salt=salt,
        )
        blobs.add((kind, draw("format"), draw("ctx"), index, salt, payload), (blob,))
    return families(number=numbers, export=exports, table=tables, blob=blobs)


def make_tree() -> dict[str, Any]:
    roots = Family("bytes32,uint32", "bytes32,uint8")
    openings = Family("bytes32,uint32,uint8,bytes", "bytes32")
    sizes = sorted({1, 3, 5} | {2**k + d for k in range(1, 9) for d in (-1, 0, 1) if 2**k + d > 0})
    for leaves in sizes:
        seed = draw(f"tree/{leaves}")
        built = ChunkTree.build(b"".join(tree_chunk(seed, leaf) for leaf in range(leaves)))
        roots.add((seed, leaves), (built.root, built.depth))
        for leaf in sorted({0, leaves // 2, leaves - 1, (1 << built.depth) - 1}):
            openings.add((seed, leaf, built.depth, built.open(leaf).pack()), (built.root,))
    # Sparse trees of large models: one chunk, everything else zero.
    for leaves in (156_250, 1_562_500, 2**20, 2**20 + 1):
        for leaf in (0, leaves - 1, leaves // 3):
            depth = tree.depth(leaves)
            opening = Opening(tree_chunk(draw("sparse"), leaf), tree.ZERO[:depth])
            root = tree.root_from_opening(opening, leaf)
            openings.add((draw("sparse"), leaf, depth, opening.pack()), (root,))
    zeros = Family("uint8", "bytes32")
    for height, root in enumerate(tree.ZERO):
        zeros.add((height,), (root,))
    return families(root=roots, opening=openings, zero=zeros)


def tree_chunk(seed: bytes, leaf: int) -> bytes:
    """sha256(seed || leaf as uint32), eight times."""
    return hashlib.sha256(seed + leaf.to_bytes(4, "big")).digest() * 8


def make_hashes() -> dict[str, Any]:
    made: dict[str, Family] = {}

    def family(name: str, inputs: str, compute: Callable[..., bytes], rows: Sequence[Sequence[Any]]) -> None:
        made[name] = Family(inputs, "bytes32")
        for row in rows:
            made[name].add(row, (compute(*row),))

    d, full = draw, bytes([255]) * 32
    names = "plan format roster cohort ctx seal update ext item set proposal outcome record state vote"
    family("tag", "string", hashes.tag, [(name,) for name in names.split()])
    family("plan", "Plan", hashes.compute_plan_hash, [(make_plan("a"),), (extreme(Plan),)])
    formats = [(make_format(1, 1),), (make_format(2**38, 2**31 - 1, weighted=False),)]
    formats += [(Format((Section(65, 0, 1, 16, 9, True), Section(64, 2, 1, 8, 7, False)), d("two")),)]
    family("format", "Format", hashes.compute_format_hash, formats)
    made["snapshot"] = Family("address[],address[]", "bytes32")
    for count in (0, 1, 3, 128):
        seats = [Member(address(f"i/{n}"), address(f"k/{n}")) for n in range(count)]
        if count == 3:
            seats[1] = Member(seats[1].institution, records.ZERO_ADDRESS)
        columns = ([seat.institution for seat in seats], [seat.node_key for seat in seats])
        made["snapshot"].add(columns, (hashes.compute_snapshot_hash(seats),))
    rows: list[Any] = [(d("s"), 0, records.ZERO32), (full, 2**128 - 1, full)]
    family("cohort", "bytes32,uint128,bytes32", hashes.compute_cohort_hash, rows)
    made["ctx"] = Family("uint256,address,uint64,bytes32,uint32,bytes32,bytes32,bytes32,bytes32,bytes32", "bytes32")
    for row in (
        (31337, address("c"), 1, d("p"), 1, d("r"), d("m"), records.ZERO32, d("h"), records.ZERO32),
        (2**256 - 1, "0x" + "Ff" * 20, 2**64 - 1, full, 2**32 - 1, full, full, full, full, full),
    ):
        keys = "chain_id collegium study_id plan_hash round parent_record model_root state_root cohort_hash keys_acc"
        named: dict[str, Any] = dict(zip(keys.split(), row, strict=True))
        made["ctx"].add(row, (hashes.compute_ctx(**named),))
    family("seal", "bytes32,bytes32", hashes.compute_seal, [(d("s"), d("c")), (full, full)])
    rows = [(d("x"), index, d("r"), d("s")) for index in (0, 1, 127)]
    family("commitment", "bytes32,uint16,bytes32,bytes32", hashes.compute_commitment, rows)
    made["ext"] = Family("uint16,uint32,uint32,bytes32", "bytes32")
    for ext in ((0, 0, 0, records.ZERO32), (1, 2, 3, d("e")), (2**16 - 1, 2**32 - 1, 2**32 - 1, full)):
        made["ext"].add(ext, (hashes.compute_ext(ExtFields(*ext)),))
    rows = [(d("c"), weight, d("e")) for weight in (1, 2**32 - 1)]
    family("item", "bytes32,uint32,bytes32", hashes.compute_item, rows)
    rows = [(d("i"), 1), (full, 2**32 - 1), (d("j"), 0)]
    family("slot", "bytes32,uint32", hashes.compute_slot, rows)
    rows = [([d(f"slot/{n}") for n in range(count)],) for count in (0, 1, 2, 127, 128)]
    family("set", "bytes32[]", hashes.compute_set_hash, rows)
    rows = [(make_proposal("a"),), (extreme(Proposal),)]
    family("proposal", "Proposal", hashes.compute_proposal_hash, rows)
    wide = 2**128 - 1
    outcomes = [Outcome(7, 7, 3, (), 0, 1), Outcome(wide, wide, wide, (full, d("f")), wide, 2**40 - 1)]
    family("outcome", "Outcome", hashes.compute_outcome_hash, [(outcome,) for outcome in outcomes])
    rows = [(records.ZERO32, d("plan"), records.ZERO32), (full, full, full)]
    family("record", "bytes32,bytes32,bytes32", hashes.compute_record, rows)
    made["recordOf"] = Family("RecordProof,Proposal", "bytes32")
    for outcome in outcomes:
        proof = RecordProof(3, d("pr"), d("m"), records.ZERO32, d("h"), records.ZERO32, outcome)
        made["recordOf"].add((proof, make_proposal("a")), (hashes.compute_record_of(proof, make_proposal("a")),))
    made["salt"] = Family("bytes,bytes32", "bytes32")
    made["salt"].add((d("secret"), d("ctx")), (hashes.derive_salt(d("secret"), d("ctx")),))
    return families(**made)


def make_messages() -> dict[str, Any]:
    d = draw
    samples: list[Message] = []
    a, b = address("institution"), address("node")
    samples += [Join(1, d("p"), a, b, 10**20, d("g"), True, 0, 1_700_000_000), extreme(Join)]
    samples += [Update(1, 1, d("x"), 0, d("c"), 1, d("e")), Update(9, 2, d("x"), 127, d("c"), 2**32 - 1, d("e"))]
    samples += [Attestation(1, 1, d("x"), 3, 2**128 - 1, d("s")), Attestation(1, 1, d("x"), 0, 1, d("s"))]
    samples += [Endorsement(1, 1, d("x"), 3, d("p")), Endorsement(2**64 - 1, 2**32 - 1, d("x"), 0, d("p"))]
    samples += [Admit(a, d("f"), "Clinique Sainte-Élisabeth", 0, 1), Admit(a, records.ZERO32, "", 2**64 - 1, 0)]
    samples += [Suspend(a, True, 1, 2), Suspend(a, False, 1, 2), NodeKey(a, b, 1, 2)]
    samples += [AllowReferee(a, True, 1, 2), AllowReferee(a, False, 1, 2)]
    samples += [RemoveMember(1, a, 1_700_000_000), extreme(RemoveMember)]
    made: dict[str, Family] = {}
    for position, message in enumerate(samples):
        kind: Any = type(message)
        typed = {n: t for n, t in kind.field_types().items() if n not in kind.unsigned_fields}
        inputs = ",".join(map(str, typed.values())) + ",uint256,address,uint256"
        family = made.setdefault(kind.primary_type, Family(inputs, "bytes32,bytes32,bytes,address"))
        key = private_key(str(position))
        digest = messages.digest(message, DOMAIN)
        values = [getattr(message, name) for name in typed]
        values += [DOMAIN.chain_id, DOMAIN.contract, int.from_bytes(key, "big")]
        signature = messages.sign(digest, key)
        family.add(values, (messages.compute_struct_hash(message), digest, signature, messages.address_of(key)))
    made["domain"] = Family("uint256,address", "bytes32")
    made["domain"].add((DOMAIN.chain_id, DOMAIN.contract), (messages.compute_domain_separator(DOMAIN),))
    # A mirrored signature and one of nobody: both must be refused.
    refused = Family("bytes32,bytes", "string")
    digest = messages.digest(samples[2], DOMAIN)
    signature = messages.sign(digest, private_key("2"))
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    vs = int.from_bytes(signature[32:], "big")
    half = (order + 1) // 2
    refused.add((digest, signature[:32] + (half | vs >> 255 << 255).to_bytes(32, "big")), ("signature_high_s",))
    refused.add((digest, bytes(64)), ("signature_invalid",))
    refused.add((digest, signature[:32] + bytes(32)), ("signature_invalid",))
    made["refused"] = refused
    return families(**made)


def make_batch() -> dict[str, Any]:
    d, ctx = draw, draw("ctx")
    commits = Family("uint64,uint32,bytes32,uint16[],bytes32[],uint32[],bytes32[],bytes[]", "bytes")
    reveals = Family("uint16[],bytes32[],bytes32[],bytes32[],uint32[],uint16[],uint32[],uint32[],bytes32[]", "bytes")
    attests = Family("uint64,uint32,bytes32,bytes32,uint8[],uint128[],bytes[]", "bytes")
    endorses = Family("uint64,uint32,bytes32,bytes32,uint8[],bytes[]", "bytes")
    for count in (1, 2, 5):
        indices = [127 - 3 * n for n in reversed(range(count))]
        updates = [Update(1, 2, ctx, i, d(f"c/{i}"), 2**32 - 1 - i, d(f"e/{i}")) for i in indices]
        signed = [_signed(update, update.index) for update in updates]
        columns = [[getattr(u, n) for u in updates] for n in ("index", "commitment", "weight", "ext")]
        signatures = [s.signature for s in signed]
        commits.add((1, 2, ctx, *columns, signatures), (messages.pack_commits(signed),))
        opened = [
            Reveal(i, d(f"s/{i}"), d(f"r/{i}"), d(f"k/{i}"), i + 1, ExtFields(i, 2**32 - 1, i, d(f"x/{i}")))
            for i in indices
        ]
        columns = [[getattr(r, n) for r in opened] for n in ("index", "salt", "root", "content_digest", "weight")]
        names = ("dp_profile", "base_round", "local_steps", "extras")
        columns += [[getattr(r.ext_fields, n) for r in opened] for n in names]
        reveals.add(columns, (messages.pack_reveals(opened),))
        attested = [_signed(Attestation(1, 2, ctx, i, 2**128 - 1 - i, d("set")), i) for i in indices]
        bitmaps, signatures = [s.message.bitmap for s in attested], [s.signature for s in attested]
        attests.add((1, 2, ctx, d("set"), indices, bitmaps, signatures), (messages.pack_attestations(attested),))
        endorsed = [_signed(Endorsement(1, 2, ctx, i, d("proposal")), i) for i in indices]
        signatures = [s.signature for s in endorsed]
        packed = messages.pack_endorsements(endorsed)
        endorses.add((1, 2, ctx, d("proposal"), indices, signatures), (packed,))
    return families(commit=commits, reveal=reveals, attest=attests, endorse=endorses)


def _signed(message: Any, seat: int) -> Signed[Any]:
    return messages.sign_message(message, DOMAIN, private_key(f"seat/{seat}"))


def make_mean() -> dict[str, Any]:
    family = Family("int32[],uint32[],uint32,bool", "int32")

    def add(elements: list[int], weights: list[int], bound: int, weighted: bool = True) -> None:
        right = compute_mean(elements, weights, bound=bound, weighted=weighted)
        family.add((elements, weights, bound, weighted), (right,))

    top = 2**31 - 1
    for bound in (1, 127, 2**23, top):
        for element in (-(2**31), -top, -bound - 1, -bound, -1, 0, 1, bound, bound + 1, top):
            if -(2**31) <= element <= top:
                add([element], [1], bound)
    # Halves of both signs: rounded up.
    for total in range(-6, 7):
        add([total, 0], [1, 1], 10)
        add([total, 0, 0, 0], [1, 1, 1, 1], 10)
        add([total, 0], [1, 2], 10, False)
    for count in (*range(1, 20), 31, 32, 33, 63, 64, 65, 126, 127, 128):
        bound = 2**23
        weight = (2**63 - 1) // (count * (2 * bound + 1))
        weight = min(weight, 2**32 - 1)
        for sign in (-1, 1):
            add([sign * bound] * count, [weight] * count, bound)
        elements = [number(f"mean/{count}/{i}", -(2**31), top) for i in range(count)]
        weights = [number(f"weight/{count}/{i}", 1, weight) for i in range(count)]
        add(elements, weights, bound)
        add(elements, weights, bound, False)
    # S at its bound with the largest B.
    widest = (2**63 - 1) // (128 * (2 * top + 1))
    add([-(2**31)] * 128, [widest] * 128, top)
    add([top] * 127 + [-top], [widest] * 128, top)
    return families(mean=family)


def make_step() -> dict[str, Any]:
    family = Family("int32,int32,uint64,uint64", "int32")
    rates = [(1, 1), (1, 2), (2, 1), (1, 3), (7, 10), (0, 1), (1, 2**62 - 1), (2**31 - 1, 1), (2**31, 3)]
    models = (0, 1, -1, SATURATION, -SATURATION, -(2**31), 12345)
    for numerator, denominator in rates:
        limit = min(SATURATION, (2**63 - 1 - denominator) // max(1, 2 * numerator))
        for mean in (0, 1, -1, 2, -2, 3, -3, 1 << 23, -(1 << 23), limit, -limit):
            for model in models:
                moved = compute_step(model, mean, numerator=numerator, denominator=denominator)
                family.add((model, mean, numerator, denominator), (moved,))
    return families(step=family)


def make_catch_up() -> dict[str, Any]:
    clock_type = "(uint8,uint40,uint8,uint8,uint16,uint16)"
    rules_type = "(uint32,uint32,uint32,uint32,uint32,uint8,uint8,uint8)"
    family = Family(f"{clock_type},{rules_type},(uint8,uint8,uint8,uint8,uint8),uint256", f"{clock_type},uint40")

    def fields(value: Any) -> tuple[int, ...]:
        return tuple(int(getattr(value, name)) for name in value.__slots__)

    def add(clock: phases.Clock, rules: phases.Rules, tally: phases.Tally, now: int) -> None:
        reached = phases.catch_up(clock, rules, tally, now)
        deadline = phases.compute_deadline(reached, rules)
        family.add((fields(clock), fields(rules), fields(tally), now), (fields(reached), deadline))

    start = 1_000_000
    for order_size in (1, 3):
        rules = phases.Rules(10, 20, 30, 40, 50, 2, 3, order_size)
        for phase in (p for p in Phase if p is not Phase.NONE):
            for done in (1, 2, 3, 4):
                tally = phases.Tally(4, done, done, done, done)
                for elapsed in (9, 10, 59, 60, 140, 10_000):
                    add(phases.Clock(phase, start), rules, tally, start + elapsed)
    for i in range(80):
        size = number(f"order/{i}", 1, 16)
        settings: Any = [*(number(f"w/{i}/{n}", 1, 9) for n in range(5)), 2, 3, size]
        rules = phases.Rules(*settings)
        clock = phases.Clock(
            Phase(number(f"phase/{i}", 1, 7)),
            start,
            number(f"attempt/{i}", 0, 2),
            number(f"position/{i}", 0, size - 1),
            number(f"excluded/{i}", 0, 2**size - 1),
            number(f"failed/{i}", 0, 2**size - 1),
        )
        tally = phases.Tally(5, *(number(f"tally/{i}/{n}", 0, 5) for n in range(4)))
        add(clock, rules, tally, start + number(f"now/{i}", 0, 60))
    return families(catchUp=family)


def make_refutations() -> dict[str, Any]:
    return families(**refutation_vectors.make())


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "encoding": make_encoding,
    "tree": make_tree,
    "hashes": make_hashes,
    "messages": make_messages,
    "batch": make_batch,
    "mean": make_mean,
    "step": make_step,
    "catch_up": make_catch_up,
    "refutations": make_refutations,
}


def render(name: str) -> str:
    """One vector file as text."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only; exit 4 on a difference")
    options = parser.parse_args(arguments)
    changed = []
    for name in FILES:
        path, text = FOLDER / f"{name}.json", render(name)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        changed.append(path.name)
        if not options.check:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print(f"{'differ' if options.check else 'written'}: {', '.join(changed) or 'none'}", file=sys.stderr)
    return 4 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
