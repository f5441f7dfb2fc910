"""Frozen records: what is hashed, signed, stored and judged.

Field names and order are those of ``contracts/interfaces/Types.sol`` in snake_case; every field knows its ABI
type, so a value that a contract could not hold is refused here (``RecordError``) and never truncated.
Digests are 32 ``bytes``, addresses checksummed ``str``, bitmaps and token amounts ``int``.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin, get_type_hints

from eth_hash.auto import keccak

from collegium.errors import RecordError

CHUNK_ELEMENTS = 64
CHUNK_BYTES = 256
MAX_SECTIONS = 8
MAX_SEATS = 128
ZERO32 = bytes(32)
ZERO_ADDRESS = "0x" + "00" * 20

Uint8 = Annotated[int, "uint8"]
Uint16 = Annotated[int, "uint16"]
Uint32 = Annotated[int, "uint32"]
Uint40 = Annotated[int, "uint40"]
Uint64 = Annotated[int, "uint64"]
Uint128 = Annotated[int, "uint128"]
Bytes32 = Annotated[bytes, "bytes32"]
Address = Annotated[str, "address"]
Bool = Annotated[bool, "bool"]
Text = Annotated[str, "string"]


class Phase(enum.IntEnum):
    """Phases of a round."""

    NONE = 0
    COMMIT = 1
    REVEAL = 2
    CERTIFY = 3
    PROPOSE = 4
    CHALLENGE = 5
    FINAL = 6
    ABORTED = 7


class SkipReason(enum.IntEnum):
    """Why an item of a batch was skipped."""

    NONE = 0
    NOT_INVITED = 1
    ALREADY_DONE = 2
    WEIGHT_OUT_OF_RANGE = 3
    BAD_SIGNATURE = 4
    REVOKED_KEY = 5
    SLOT_MISMATCH = 6


class Kind(enum.IntEnum):
    """Kinds of fines."""

    NONE = 0
    MEAN = 1
    STEP = 2
    TAIL = 3
    RANGE = 4
    EQUIVOCATION = 5
    DUTY = 6
    CONTRADICTION = 7
    UNREVEALED = 8


class Role(enum.IntEnum):
    """Which lock a fine is taken from."""

    MEMBER = 0
    AGGREGATOR = 1


class Mode(enum.IntEnum):
    OPEN = 1


class Rule(enum.IntEnum):
    WEIGHTED_MEAN = 1


class Optimizer(enum.IntEnum):
    FEDAVG = 1


class ElementType(enum.IntEnum):
    INT32 = 1


def checksum_address(address: str | bytes) -> str:
    """EIP-55 form of 20 bytes or of a hex string in any case. Raises ``RecordError`` when it is no address."""
    if isinstance(address, str):
        text = address[2:] if address[:2] in ("0x", "0X") else address
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
    else:
        raw = bytes(address)
    if len(raw) != 20:
        raise RecordError(f"Not an address: {address!r}.", hint="An address is 0x and 40 hex digits.")
    return _checksum(raw)


@functools.lru_cache(maxsize=4096)
def _checksum(raw: bytes) -> str:
    lower = raw.hex()
    digest = keccak(lower.encode()).hex()
    return "0x" + "".join(c.upper() if int(d, 16) >= 8 else c for c, d in zip(lower, digest, strict=False))


def bits(bitmap: int) -> list[int]:
    """Positions of the set bits, ascending."""
    return [position for position in range(bitmap.bit_length()) if bitmap >> position & 1]


def bitmap_of(indices: Sequence[int]) -> int:
    """Bitmap with these positions set."""
    return functools.reduce(lambda bitmap, index: bitmap | 1 << index, indices, 0)


def camel_case(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _coerce(owner: str, name: str, kind: str, value: Any) -> Any:
    where = f"{owner}.{name}"
    if kind.startswith("uint"):
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise RecordError(f"{where} must be an integer, not {value!r}.")
        number = int(value.__index__())
        if not 0 <= number < 1 << int(kind[4:]):
            raise RecordError(f"{where} = {number} does not fit {kind}.", field=where, value=number)
        return number
    if kind == "bytes32":
        if isinstance(value, str):
            try:
                value = bytes.fromhex(value.removeprefix("0x"))
            except ValueError:
                value = b""
        if not isinstance(value, (bytes, bytearray, memoryview)) or len(value) != 32:
            raise RecordError(f"{where} must be 32 bytes.", field=where)
        return bytes(value)
    if kind == "address":
        return checksum_address(value)
    if kind == "bool":
        if value not in (True, False):
            raise RecordError(f"{where} must be a bool, not {value!r}.", field=where)
        return bool(value)
    if not isinstance(value, str):
        raise RecordError(f"{where} must be text.", field=where)
    return value


def abi_word(kind: str, value: Any) -> bytes:
    if kind == "bytes32":
        return bytes(value)
    if kind == "address":
        return bytes(12) + bytes.fromhex(value[2:])
    return int(value).to_bytes(32, "big")


class Record:
    """Base of all records: typed fields, ABI tuples both ways."""

    @classmethod
    @functools.cache
    def field_types(cls) -> dict[str, Any]:
        """Field name to ABI type name, record class, or a one-element list of either for a dynamic array."""
        hints = get_type_hints(cls, include_extras=True)
        result: dict[str, Any] = {}
        for field in fields(cls):  # type: ignore[arg-type]
            hint = hints[field.name]
            if get_origin(hint) is Annotated:
                result[field.name] = get_args(hint)[1]
            elif get_origin(hint) is tuple:
                inner = get_args(hint)[0]
                result[field.name] = [get_args(inner)[1] if get_origin(inner) is Annotated else inner]
            else:
                result[field.name] = hint
        return result

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name, kind in self.field_types().items():
            value = getattr(self, name)
            if isinstance(kind, str):
                value = _coerce(owner, name, kind, value)
            elif isinstance(kind, list):
                inner = kind[0]
                value = tuple(_coerce(owner, name, inner, v) if isinstance(inner, str) else v for v in value)
            object.__setattr__(self, name, value)

    def to_abi(self) -> tuple[Any, ...]:
        """The tuple web3 and eth_abi want, nested records included."""
        values: list[Any] = []
        for name, kind in self.field_types().items():
            value = getattr(self, name)
            if isinstance(kind, list):
                values.append([v if isinstance(kind[0], str) else v.to_abi() for v in value])
            else:
                values.append(value if isinstance(kind, str) else value.to_abi())
        return tuple(values)

    @classmethod
    def from_abi(cls, value: Any) -> Self:
        """From a tuple in field order, or a mapping with the contract's camelCase names."""
        types = cls.field_types()
        if isinstance(value, Mapping):
            try:
                items = [value[camel_case(name)] for name in types]
            except KeyError as missing:
                raise RecordError(f"{cls.__name__} lacks {missing}.") from None
        else:
            items = list(value)
        if len(items) != len(types):
            raise RecordError(f"{cls.__name__} has {len(types)} fields, not {len(items)}.")
        built: dict[str, Any] = {}
        for (name, kind), item in zip(types.items(), items, strict=True):
            if isinstance(kind, list):
                inner = kind[0]
                built[name] = tuple(v if isinstance(inner, str) else inner.from_abi(v) for v in item)
            else:
                built[name] = item if isinstance(kind, str) else kind.from_abi(item)
        return cls(**built)

    @classmethod
    def abi_type(cls) -> str:
        """The ABI tuple type, as eth_abi writes it."""
        parts = []
        for kind in cls.field_types().values():
            inner = kind[0] if isinstance(kind, list) else kind
            text = inner if isinstance(inner, str) else inner.abi_type()
            parts.append(text + "[]" if isinstance(kind, list) else text)
        return "(" + ",".join(parts) + ")"

    def words(self) -> bytes:
        """``abi.encode`` of a record whose fields are all static: one 32-byte word per field."""
        return b"".join(abi_word(kind, getattr(self, name)) for name, kind in self.field_types().items())


@dataclass(frozen=True, slots=True)
class Section(Record):
    """One run of equally encoded elements, padded to 64. An element e stands for e * 2^-exponent."""

    count: Uint64
    first_chunk: Uint32
    element_type: Uint8
    exponent: Uint8
    bound: Uint32
    weighted: Bool

    @property
    def chunks(self) -> int:
        return -(-self.count // CHUNK_ELEMENTS)


@dataclass(frozen=True, slots=True)
class Format(Record):
    """What a tree's bytes mean."""

    sections: tuple[Section, ...]
    table_hash: Bytes32

    @property
    def leaves(self) -> int:
        """Chunks of the payload."""
        return sum(section.chunks for section in self.sections)

    @property
    def elements(self) -> int:
        """Elements of the payload, padding included."""
        return self.leaves * CHUNK_ELEMENTS

    @property
    def payload_bytes(self) -> int:
        return self.leaves * CHUNK_BYTES

    @property
    def depth(self) -> int:
        return (self.leaves - 1).bit_length()

    def locate(self, coordinate: int) -> tuple[Section, bool]:
        """Section of a payload position and whether the position is padding. Raises ``RecordError`` outside."""
        for section in self.sections:
            offset = coordinate - section.first_chunk * CHUNK_ELEMENTS
            if 0 <= offset < section.chunks * CHUNK_ELEMENTS:
                return section, offset >= section.count
        raise RecordError(f"Coordinate {coordinate} is outside the format's {self.elements} elements.")


@dataclass(frozen=True, slots=True)
class Plan(Record):
    """A study's whole plan, fixed at creation. Windows in seconds, bond and fines in token units."""

    mode: Uint8
    rule: Uint8
    optimizer: Uint8
    rate_numerator: Uint64
    rate_denominator: Uint64
    format_id: Bytes32
    genesis_model_root: Bytes32
    genesis_model_digest: Bytes32
    task_digest: Bytes32
    referee: Address
    min_clients: Uint8
    max_members: Uint8
    quorum_min: Uint8
    max_weight: Uint32
    commit_window: Uint32
    reveal_window: Uint32
    certify_window: Uint32
    propose_window: Uint32
    challenge_window: Uint32
    evidence_period: Uint32
    aggregator_bond: Uint128
    unrevealed_fine: Uint128
    range_fine: Uint128
    equivocation_fine: Uint128
    duty_fine: Uint128
    contradiction_fine: Uint128
    reward_terms: Bytes32
    privacy_profiles_hash: Bytes32
    agreement: Bytes32
    plan_digest: Bytes32


@dataclass(frozen=True, slots=True)
class Member:
    """One seat of the roster snapshot. ``kind`` 1 is a key; ``node_key`` is the zero address where unusable."""

    institution: str
    node_key: str
    kind: int = 1


@dataclass(frozen=True, slots=True)
class Proposal(Record):
    """A proposal in full; its hash is what the round stores."""

    ctx: Bytes32
    aggregator: Address
    attempt: Uint8
    set_hash: Bytes32
    included: Uint128
    dropouts: Uint128
    weight_sum: Uint64
    mean_root: Bytes32
    new_model_root: Bytes32
    new_state_root: Bytes32
    model_digest: Bytes32
    mean_digest: Bytes32
    seeds_hash: Bytes32
    ext: Bytes32


@dataclass(frozen=True, slots=True)
class Outcome(Record):
    """How a final round ended."""

    committed: Uint128
    revealed: Uint128
    included: Uint128
    failed_proposals: tuple[Bytes32, ...]
    failed_duties: Uint128
    finalized_at: Uint40


@dataclass(frozen=True, slots=True)
class RecordProof(Record):
    """What ties a proposal to a permanent record, and the base model to the proposal's ctx."""

    round: Uint32
    parent_record: Bytes32
    model_root: Bytes32
    state_root: Bytes32
    cohort_hash: Bytes32
    keys_acc: Bytes32
    outcome: Outcome


class Message(Record):
    """A record that is signed: ``primary_type`` and ``signed_fields`` are its EIP-712 type."""

    primary_type: ClassVar[str]
    #: record fields outside the signed struct
    unsigned_fields: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class Join(Message):
    """What an institution signs to join a study."""

    primary_type: ClassVar[str] = "Join"

    study_id: Uint64
    plan_hash: Bytes32
    institution: Address
    node_key: Address
    max_fine: Uint128
    agreement: Bytes32
    open_updates: Bool
    nonce: Uint64
    deadline: Uint40


@dataclass(frozen=True, slots=True)
class Update(Message):
    """A member's commitment to its update, signed by its node key."""

    primary_type: ClassVar[str] = "Update"

    study_id: Uint64
    round: Uint32
    ctx: Bytes32
    index: Uint16
    commitment: Bytes32
    weight: Uint32
    ext: Bytes32


@dataclass(frozen=True, slots=True)
class Attestation(Message):
    """A member's word that it fetched and checked the updates in ``bitmap``. ``index`` is the signer's seat."""

    primary_type: ClassVar[str] = "Attest"
    unsigned_fields: ClassVar[tuple[str, ...]] = ("index",)

    study_id: Uint64
    round: Uint32
    ctx: Bytes32
    index: Uint8
    bitmap: Uint128
    set_hash: Bytes32


@dataclass(frozen=True, slots=True)
class Endorsement(Message):
    """A member's word that it recomputed every field of a proposal. ``index`` is the signer's seat."""

    primary_type: ClassVar[str] = "Endorse"
    unsigned_fields: ClassVar[tuple[str, ...]] = ("index",)

    study_id: Uint64
    round: Uint32
    ctx: Bytes32
    index: Uint8
    proposal: Bytes32


@dataclass(frozen=True, slots=True)
class Admit(Message):
    """Signed by the council in the domain of Members."""

    primary_type: ClassVar[str] = "Admit"

    institution: Address
    profile: Bytes32
    name: Text
    nonce: Uint64
    deadline: Uint40


@dataclass(frozen=True, slots=True)
class Suspend(Message):
    """Signed by the council in the domain of Members."""

    primary_type: ClassVar[str] = "Suspend"

    institution: Address
    suspended: Bool
    nonce: Uint64
    deadline: Uint40


@dataclass(frozen=True, slots=True)
class NodeKey(Message):
    """Signed by institution and node key in the domain of Members."""

    primary_type: ClassVar[str] = "NodeKey"

    institution: Address
    node_key: Address
    nonce: Uint64
    deadline: Uint40


@dataclass(frozen=True, slots=True)
class AllowReferee(Message):
    """Signed by the council in the domain of Members."""

    primary_type: ClassVar[str] = "AllowReferee"

    referee: Address
    allowed: Bool
    nonce: Uint64
    deadline: Uint40


@dataclass(frozen=True, slots=True)
class ExtFields(Record):
    """Preimage of an update's ``ext``. ``extras`` is 0 or bound by the plan."""

    dp_profile: Uint16
    base_round: Uint32
    local_steps: Uint32
    extras: Bytes32


@dataclass(frozen=True, slots=True)
class Reveal(Record):
    """Opens a commitment; proves itself against the slot, so it carries no signature."""

    index: Uint16
    salt: Bytes32
    root: Bytes32
    content_digest: Bytes32
    weight: Uint32
    ext_fields: ExtFields


M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Signed(Generic[M]):
    """A message with its compact signature (r, vs): 64 bytes."""

    message: M
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.signature) != 64:
            raise RecordError(f"A compact signature has 64 bytes, not {len(self.signature)}.")
