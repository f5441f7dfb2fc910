"""Frozen records: what is hashed, signed, stored and judged.

Field names and order are those of ``contracts/interfaces/Types.sol`` in snake_case; every field knows its ABI
type, so a value that a contract could not hold is refused here (``RecordError``) and never truncated.
Digests are 32 ``bytes``, addresses checksummed ``str``, bitmaps and token amounts ``int``.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from collegium.errors import RecordError
from collegium.fields import (
    Address,
    Bool,
    Bytes32,
    Record,
    Text,
    Uint8,
    Uint16,
    Uint32,
    Uint40,
    Uint64,
    Uint128,
    checksum_address,
)

__all__ = [
    "Admit",
    "AllowReferee",
    "Attestation",
    "CHUNK_BYTES",
    "CHUNK_ELEMENTS",
    "ElementType",
    "Endorsement",
    "ExtFields",
    "Format",
    "Join",
    "Kind",
    "MAX_SEATS",
    "MAX_SECTIONS",
    "Member",
    "Message",
    "Mode",
    "NodeKey",
    "Optimizer",
    "Outcome",
    "Phase",
    "Plan",
    "Proposal",
    "Record",
    "RecordProof",
    "RemoveMember",
    "Reveal",
    "Role",
    "Rule",
    "Section",
    "Signed",
    "SkipReason",
    "StudyStatus",
    "Suspend",
    "Update",
    "ZERO32",
    "ZERO_ADDRESS",
    "bitmap_of",
    "bits",
    "checksum_address",
]

CHUNK_ELEMENTS = 64
CHUNK_BYTES = 256
MAX_SECTIONS = 8
MAX_SEATS = 128
ZERO32 = bytes(32)
ZERO_ADDRESS = "0x" + "00" * 20


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


class StudyStatus(enum.IntEnum):
    """Whether the sponsor lets rounds open; closed is for ever."""

    OPEN = 0
    PAUSED = 1
    CLOSED = 2


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


def bits(bitmap: int) -> list[int]:
    """Positions of the set bits, ascending."""
    return [position for position in range(bitmap.bit_length()) if bitmap >> position & 1]


def bitmap_of(indices: Sequence[int]) -> int:
    """Bitmap with these positions set."""
    return functools.reduce(lambda bitmap, index: bitmap | 1 << index, indices, 0)


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
class RemoveMember(Message):
    """Signed by the council in the domain of Members."""

    primary_type: ClassVar[str] = "RemoveMember"

    study_id: Uint64
    institution: Address
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
