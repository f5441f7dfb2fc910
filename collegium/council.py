"""A decision of the council: what it says, the signatures it has so far, and the file it travels in.

Members of the council sign wherever their keys are, also on a machine without a network; the file goes from one to
the next, or copies of it come back, and whoever pays the gas carries it to the chain.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from collegium.errors import CollegiumError, PreconditionError, RecordError, SignatureError
from collegium.fields import camel_case
from collegium.files import write_atomically
from collegium.hours import format_deadline
from collegium.messages import Domain, digest, pack_approvals, recover
from collegium.records import Admit, AllowReferee, Message, RemoveMember, Suspend, checksum_address

__all__ = ["SCHEMA", "Applicant", "Council", "Decision", "read_applicant", "to_compact"]

SCHEMA = "collegium.council/1"
_KINDS: Mapping[str, type[Message]] = {kind.primary_type: kind for kind in (Admit, Suspend, AllowReferee, RemoveMember)}
MAX_BYTES = 1 << 20
_MAX_COUNCIL = 256
_S_BITS = 255


@dataclass(frozen=True, slots=True)
class Council:
    """Who may sign and how many must, as the chain said when a decision was drawn up. Nobody signed this."""

    members: tuple[str, ...]
    threshold: int

    @classmethod
    def parse(cls, content: Any) -> Self:
        """Raises ValueError, KeyError, TypeError, CollegiumError."""
        members, threshold = content["members"], content["threshold"]
        if not isinstance(members, list) or isinstance(threshold, bool) or not isinstance(threshold, int):
            raise ValueError("its council is no list of members and a number")
        if not 1 <= threshold <= len(members) <= _MAX_COUNCIL:
            raise ValueError(f"its council has {len(members)} members of whom {threshold} must sign")
        return cls(tuple(checksum_address(member) for member in members), threshold)


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who asks to be admitted. profile: 32 bytes, digest of a public description, zeros when there is none."""

    institution: str
    name: str
    profile: bytes = bytes(32)


def read_applicant(text: str) -> Applicant:
    """`0xaddress=Name`, or the path of the JSON that `collegium institution register` wrote.

    Raises PreconditionError.
    """
    try:
        if text.startswith("0x"):
            address, _, name = text.partition("=")
            return Applicant(checksum_address(address), name or address)
        content = json.loads(Path(text).read_text(encoding="utf-8"))
        content = content.get("data", content)
        content = content.get("request", content)
        profile = bytes.fromhex(str(content.get("profile", "00" * 32)).removeprefix("0x"))
        return Applicant(checksum_address(content["institution"]), str(content["name"]), profile)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, RecordError) as error:
        raise PreconditionError(
            f"{text} names no institution: {error}",
            hint="Give 0xADDRESS=NAME or the file written by `collegium institution register`.",
        ) from error


@dataclass(frozen=True)
class Decision:
    """message: what is decided. domain: chain and Members contract, in whose domain the council signs.

    signatures: compact, by signer. council: for people only; it is not signed, and old files have none.
    """

    message: Message
    domain: Domain
    signatures: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    council: Council | None = None

    @property
    def digest(self) -> bytes:
        """The 32 bytes that are signed (EIP-712)."""
        return digest(self.message, self.domain)

    @property
    def approvals(self) -> bytes:
        """What the contract takes: signatures, signers ascending."""
        return pack_approvals(self.digest, list(self.signatures.values()))

    @property
    def deadline(self) -> int:
        """Chain time after which the signatures are worth nothing."""
        return int(getattr(self.message, "deadline"))  # noqa: B009  every kind of decision has one

    def signed(self, signature: bytes) -> Self:
        """With one more compact signature; its signer is recovered from it. Raises SignatureError."""
        return dataclasses.replace(self, signatures={**self.signatures, recover(self.digest, signature): signature})

    def merged(self, others: Iterable[Self]) -> Self:
        """With the signatures of copies of the same decision. Raises PreconditionError for another one."""
        found, council = dict(self.signatures), self.council
        for other in others:
            if other.digest != self.digest:
                raise PreconditionError(
                    f"The files hold different decisions: 0x{self.digest.hex()} and 0x{other.digest.hex()}.",
                    hint="Collect the signatures over one file: nonce and deadline are part of what is signed.",
                )
            found |= other.signatures
            council = council or other.council
        return dataclasses.replace(self, signatures=found, council=council)

    def of_members(self, members: Iterable[str]) -> Self:
        """Without the signatures of anybody else."""
        kept = {signer: self.signatures[signer] for signer in set(members) & set(self.signatures)}
        return dataclasses.replace(self, signatures=kept)

    def words(self, now: float | None = None) -> list[tuple[str, str]]:
        """Every field that is signed, for people to read before they sign. now: seconds since 1970 [the clock's]."""
        values = {name: _show(getattr(self.message, name)) for name in type(self.message).field_types()}
        values["deadline"] = format_deadline(self.deadline, time.time() if now is None else now)
        fields = list(values.items())
        return [
            ("decision", type(self.message).primary_type),
            *fields,
            ("chain", str(self.domain.chain_id)),
            ("members contract", self.domain.contract),
        ]

    def typed_data(self) -> dict[str, Any]:
        """For `eth_signTypedData_v4`: hardware wallets and `cast wallet sign --data`."""
        kind = type(self.message)
        fields = kind.field_types()
        return {
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                kind.primary_type: [{"name": camel_case(name), "type": str(abi)} for name, abi in fields.items()],
            },
            "primaryType": kind.primary_type,
            "domain": {
                "name": "Collegium",
                "version": "1",
                "chainId": self.domain.chain_id,
                "verifyingContract": self.domain.contract,
            },
            "message": {camel_case(name): _plain(getattr(self.message, name)) for name in fields},
        }

    # -- file -------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        kind, council = type(self.message), self.council
        listed = {"members": list(council.members), "threshold": council.threshold} if council else None
        return {
            "schema": SCHEMA,
            "decision": kind.primary_type,
            "chain_id": self.domain.chain_id,
            "members": self.domain.contract,
            "message": {name: _plain(getattr(self.message, name)) for name in kind.field_types()},
            "digest": "0x" + self.digest.hex(),
            "signatures": {signer: "0x" + self.signatures[signer].hex() for signer in sorted(self.signatures)},
            **({"council": listed} if listed else {}),
        }

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_atomically(path, json.dumps(self.to_json(), indent=2).encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file; digest and signatures are recomputed, not believed. Raises PreconditionError."""
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES} bytes")
            return cls.parse(json.loads(path.read_text(encoding="utf-8")))
        except (
            OSError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError, RecursionError,
            CollegiumError,
        ) as error:  # fmt: skip
            raise PreconditionError(
                f"{path} is no decision of a council: {error}.",
                hint="Make one with `collegium council admit`, or ask for the file again.",
            ) from error

    @classmethod
    def parse(cls, content: Any) -> Self:
        """Raises ValueError, KeyError, TypeError, CollegiumError for what is no decision."""
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']!r}")
        kind: Any = _KINDS[content["decision"]]
        fields = {name: _parse(str(abi), content["message"][name]) for name, abi in kind.field_types().items()}
        if set(content["message"]) != set(fields):
            raise ValueError("it has fields that are not signed")
        domain = Domain(int(content["chain_id"]), checksum_address(content["members"]))
        council = Council.parse(content["council"]) if "council" in content else None
        decision = cls(kind(**fields), domain, council=council)
        if content["digest"] != "0x" + decision.digest.hex():
            raise ValueError("its digest is not that of its fields")
        for signer, signature in dict(content["signatures"]).items():
            decision = decision.signed(bytes.fromhex(str(signature).removeprefix("0x")))
            if signer not in decision.signatures:
                raise ValueError(f"the signature of {signer} is not over these fields")
        return decision


def to_compact(signature: bytes) -> bytes:
    """65 bytes r, s, v of other wallets, or already compact 64 (EIP-2098). Raises SignatureError."""
    if len(signature) == 64:
        return signature
    if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
        raise SignatureError(f"A signature has 64 or 65 bytes, not {len(signature)}, and ends in 0, 1, 27 or 28.")
    s = int.from_bytes(signature[32:64], "big")
    return signature[:32] + (s | (signature[64] % 27) << _S_BITS).to_bytes(32, "big")


def _plain(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _show(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(_plain(value))


def _parse(abi: str, value: Any) -> Any:
    if abi.startswith("bytes"):
        return bytes.fromhex(str(value).removeprefix("0x"))
    if abi == "bool":
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return value
    if abi.startswith("uint"):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{value!r} is no whole number")
        return value
    return str(value)
