"""Whether a chain holds what this release compiles to: runtime code, immutables' values, creation transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from collegium.chain.rpc import Rpc, to_int

from .bytecode import Match, blank_metadata, compare, first_difference, mask, metadata_digests
from .compiler import Compiled
from .immutables import compute_expected
from .targets import Target

__all__ = ["Comparison", "Finding", "compare_with_chain"]


@dataclass(frozen=True, slots=True)
class Finding:
    """status: ok, warning (could not be checked, or weaker), mismatch."""

    check: str
    status: str
    detail: str

    def to_json(self) -> dict[str, str]:
        return {"check": self.check, "status": self.status, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Comparison:
    """match: of the runtime code. recompiled: whether sources were compiled, or only shipped hashes compared."""

    target: Target
    match: Match
    recompiled: bool
    code_hash: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return self.match is not Match.NONE and all(each.status != "mismatch" for each in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "contract": self.target.name,
            "address": self.target.address,
            "match": self.match.value,
            "ok": self.ok,
            "recompiled": self.recompiled,
            "code_hash": self.code_hash,
            "findings": [each.to_json() for each in self.findings],
        }


def compare_with_chain(rpc: Rpc, target: Target, compiled: Compiled | None) -> Comparison:
    """Compare a contract; without `compiled` with the hashes of the release only.

    Raises ChainUnreachableError or RpcError.
    """
    code = _bytes(rpc.request("eth_getCode", target.address, "latest"))
    if not code:
        return Comparison(
            target, Match.NONE, compiled is not None, "",
            (Finding("runtime", "mismatch", f"there is no code at {target.address}"),),
        )  # fmt: skip
    match, findings = _runtime(target, code, compiled)
    if match is not Match.NONE:
        findings += _immutables(target, code)
    findings += _creation(rpc, target, compiled)
    return Comparison(target, match, compiled is not None, "0x" + keccak(code).hex(), tuple(findings))


def _runtime(target: Target, code: bytes, compiled: Compiled | None) -> tuple[Match, list[Finding]]:
    released = target.released
    if len(code) != released.runtime.size:
        detail = f"{len(code)} bytes on chain, {released.runtime.size} in this release"
        return Match.NONE, [Finding("runtime", "mismatch", detail)]
    masked = mask(code, released.places)
    if compiled is None:
        if keccak(masked) == released.runtime.hash:
            return Match.EXACT, [Finding("runtime", "ok", "the release's hash of the code, metadata hash included")]
        return Match.NONE, [Finding("runtime", "mismatch", "another hash than the release's")]
    expected = mask(compiled.runtime, released.places)
    match = compare(masked, expected)
    if match is Match.EXACT:
        return match, [Finding("runtime", "ok", f"all {len(code)} bytes, metadata hash included")]
    if match is Match.PARTIAL:
        own = (metadata_digests(masked) or [b""])[-1].hex()
        detail = f"all but the metadata hash ({own}): other comments, names or paths, the same instructions"
        return match, [Finding("runtime", "warning", detail)]
    detail = f"differs from byte {first_difference(masked, expected)} on"
    return match, [Finding("runtime", "mismatch", detail)]


def _immutables(target: Target, code: bytes) -> list[Finding]:
    findings, right = [], 0
    for each in target.released.immutables:
        values = {int.from_bytes(code[start : start + 32], "big") for start in each.at}
        expected = compute_expected(target, each.name)
        if expected is None:
            detail = f"{each.name}: this release does not know what it must hold"
        elif values != {expected}:
            shown = ", ".join(f"0x{value:x}" for value in sorted(values))
            detail = f"{each.name} is {shown}, not 0x{expected:x}"
        else:
            right += 1
            continue
        findings.append(Finding("immutables", "mismatch", detail))
    if not findings and right:
        findings.append(Finding("immutables", "ok", f"{right} hold what the deployment says"))
    return findings


def _creation(rpc: Rpc, target: Target, compiled: Compiled | None) -> list[Finding]:
    if not target.transaction:
        return [Finding("creation", "warning", "the deployment file names no creation transaction")]
    found = rpc.request("eth_getTransactionByHash", target.transaction)
    receipt = rpc.request("eth_getTransactionReceipt", target.transaction)
    if not found or not receipt:
        return [Finding("creation", "warning", f"the node does not have transaction {target.transaction}")]
    problem = _creation_problem(target, found, receipt, compiled)
    if problem:
        return [Finding("creation", "mismatch", problem)]
    how = f"inside that of {target.released.created_by}" if target.released.created_by else "with its arguments"
    return [Finding("creation", "ok", f"creation code {how}, transaction {target.transaction}")]


def _creation_problem(
    target: Target, found: Mapping[str, Any], receipt: Mapping[str, Any], compiled: Compiled | None
) -> str:
    """What is wrong with the creation; empty when nothing is."""
    data = _bytes(found.get("input") or found.get("data"))
    if found.get("to") is not None:
        return f"transaction {target.transaction} creates nothing"
    if to_int(receipt.get("status") or "0x0") != 1:
        return f"transaction {target.transaction} failed"
    if target.released.created_by:
        return _child_problem(target, receipt, data, compiled)
    if str(receipt.get("contractAddress") or "").lower() != target.address.lower():
        return f"transaction {target.transaction} created {receipt.get('contractAddress')}"
    if str(found.get("from") or "").lower() != target.creator.lower():
        return f"created by {found.get('from')}, not by {target.creator}"
    size = target.released.creation.size
    code, arguments = data[:size], data[size:]
    right = keccak(code) == target.released.creation.hash if compiled is None else (
        compare(code, compiled.creation) is not Match.NONE
    )
    if not right:
        return "other creation code than this release's"
    return "" if arguments == target.encoded else "other constructor arguments than the deployment file says"


def _child_problem(target: Target, receipt: Mapping[str, Any], data: bytes, compiled: Compiled | None) -> str:
    if str(receipt.get("contractAddress") or "").lower() != target.creator.lower():
        return f"transaction {target.transaction} created {receipt.get('contractAddress')}, not {target.creator}"
    if compiled is not None:
        return "" if blank_metadata(compiled.creation) in blank_metadata(data) else "its code is not in its creator's"
    creation = target.released.creation
    start = data.find(creation.begins)
    while start >= 0:
        if keccak(data[start : start + creation.size]) == creation.hash:
            return ""
        start = data.find(creation.begins, start + 1)
    return "its code is not in its creator's"


def _bytes(text: object) -> bytes:
    """0x hex of a node; empty for anything else."""
    try:
        return bytes.fromhex(str(text)[2:]) if isinstance(text, str) and text.startswith("0x") else b""
    except ValueError:
        return b""
