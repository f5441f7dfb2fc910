"""Digests against eth_account, signatures that have one form, and wire items that come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from collegium import errors, messages
from collegium.fields import camel_case
from collegium.records import (
    Admit,
    AllowReferee,
    Attestation,
    Endorsement,
    ExtFields,
    Join,
    NodeKey,
    RemoveMember,
    Reveal,
    Signed,
    Suspend,
    Update,
    checksum_address,
)

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KINDS = [Join, Update, Attestation, Endorsement, Admit, Suspend, NodeKey, AllowReferee, RemoveMember]

digests = st.binary(min_size=32, max_size=32)
keys = st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big"))
addresses = st.binary(min_size=20, max_size=20).map(checksum_address)
seats = st.integers(0, 127)
signatures = st.binary(min_size=64, max_size=64)


def values_of(abi: str) -> st.SearchStrategy[Any]:
    if abi.startswith("uint"):
        return st.integers(0, 2 ** int(abi[4:]) - 1)
    return {"bytes32": digests, "address": addresses, "bool": st.booleans(), "string": st.text(max_size=20)}[abi]


def records_of(kind: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{name: values_of(abi) for name, abi in kind.field_types().items()})


domains = st.builds(messages.Domain, st.integers(1, 2**64), addresses)


class TestDigest:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.primary_type)
    @given(data=st.data(), domain=domains)
    def test_digest_equals_that_of_eth_account(self, kind: Any, data: st.DataObject, domain: messages.Domain) -> None:
        message = data.draw(records_of(kind))
        typed = [(n, t) for n, t in kind.field_types().items() if n not in kind.unsigned_fields]
        signable = encode_typed_data(
            {
                "name": "Collegium",
                "version": "1",
                "chainId": domain.chain_id,
                "verifyingContract": domain.contract,
            },
            {kind.primary_type: [{"type": abi, "name": camel_case(name)} for name, abi in typed]},
            {camel_case(name): getattr(message, name) for name, _ in typed},
        )
        key = data.draw(keys)
        signature = messages.sign(messages.digest(message, domain), key)
        other = Account.sign_message(signable, key)
        assert signature[:32] == other.r.to_bytes(32, "big")
        assert int.from_bytes(signature[32:], "big") == other.s | (other.v - 27) << 255

    def test_type_strings_are_those_of_the_contracts(self) -> None:
        assert messages.type_string(Update) == (
            "Update(uint64 studyId,uint32 round,bytes32 ctx,uint16 index,bytes32 commitment,uint32 weight,bytes32 ext)"
        )
        assert messages.type_string(Attestation) == (
            "Attest(uint64 studyId,uint32 round,bytes32 ctx,uint128 bitmap,bytes32 setHash)"
        )
        assert messages.type_string(Endorsement) == "Endorse(uint64 studyId,uint32 round,bytes32 ctx,bytes32 proposal)"


class TestSignature:
    @given(digest=digests, key=keys)
    def test_signer_is_recovered(self, digest: bytes, key: bytes) -> None:
        signature = messages.sign(digest, key)
        assert len(signature) == 64
        assert messages.recover(digest, signature) == messages.address_of(key) == Account.from_key(key).address

    @given(digest=digests, key=keys, parity=st.booleans())
    def test_high_s_is_refused(self, digest: bytes, key: bytes, parity: bool) -> None:
        signature = messages.sign(digest, key)
        low = int.from_bytes(signature[32:], "big") & (1 << 255) - 1
        high = max(ORDER - low, ORDER // 2 + 1)
        if high < 1 << 255:
            mirrored = signature[:32] + (high | parity << 255).to_bytes(32, "big")
            with pytest.raises(errors.HighSError):
                messages.recover(digest, mirrored)

    @given(digest=digests, signature=st.binary(max_size=70))
    def test_damaged_signature_is_refused_or_names_a_stranger(self, digest: bytes, signature: bytes) -> None:
        try:
            signer = messages.recover(digest, signature)
        except errors.SignatureError:
            return
        assert signer == checksum_address(signer)

    def test_other_domain_is_another_signer(self) -> None:
        key, contract = b"\1" * 32, "0x" + "11" * 20
        update = Update(1, 1, b"c" * 32, 0, b"d" * 32, 1, b"e" * 32)
        signed = messages.sign_message(update, messages.Domain(1, contract), key)
        messages.verify_signed(signed, messages.Domain(1, contract), messages.address_of(key))
        with pytest.raises(errors.SignerMismatchError):
            messages.verify_signed(signed, messages.Domain(2, contract), messages.address_of(key))

    @given(digest=digests)
    def test_approvals_ascend_by_signer_and_repeat_nobody(self, digest: bytes) -> None:
        made = [messages.sign(digest, bytes([n]) * 32) for n in (3, 1, 2, 1)]
        packed = messages.pack_approvals(digest, made)
        signers = [int(messages.recover(digest, packed[at : at + 64]), 16) for at in range(0, len(packed), 64)]
        assert len(signers) == 3 and signers == sorted(signers)


COMMON = {"study_id": 7, "round": 3, "ctx": b"c" * 32}
ext_fields = records_of(ExtFields)
reveals = st.builds(Reveal, seats, digests, digests, digests, st.integers(0, 2**32 - 1), ext_fields)


class TestWire:
    @given(items=st.lists(st.tuples(records_of(Update), seats, signatures), min_size=1, max_size=5))
    def test_commits_come_back(self, items: list[Any]) -> None:
        signed = [Signed(replace(update, index=seat, **COMMON), sig) for update, seat, sig in items]
        packed = messages.pack_commits(signed)
        assert len(packed) == 134 * len(items)
        assert messages.unpack_commits(packed, **COMMON) == signed  # type: ignore[arg-type]

    @given(items=st.lists(reveals, min_size=1, max_size=5))
    def test_reveals_come_back(self, items: list[Reveal]) -> None:
        packed = messages.pack_reveals(items)
        assert len(packed) == 144 * len(items)
        assert messages.unpack_reveals(packed) == items

    @given(items=st.dictionaries(seats, st.tuples(st.integers(0, 2**128 - 1), signatures), min_size=1, max_size=5))
    def test_attestations_come_back_in_ascending_order(self, items: dict[int, Any]) -> None:
        signed = [
            Signed(Attestation(7, 3, b"c" * 32, seat, bitmap, b"s" * 32), sig) for seat, (bitmap, sig) in items.items()
        ]
        packed = messages.pack_attestations(signed)
        assert len(packed) == 81 * len(items)
        back = messages.unpack_attestations(packed, set_hash=b"s" * 32, **COMMON)  # type: ignore[arg-type]
        assert back == sorted(signed, key=lambda item: item.message.index)

    @given(items=st.dictionaries(seats, signatures, min_size=1, max_size=5))
    def test_endorsements_come_back_in_ascending_order(self, items: dict[int, bytes]) -> None:
        signed = [Signed(Endorsement(7, 3, b"c" * 32, seat, b"p" * 32), sig) for seat, sig in items.items()]
        packed = messages.pack_endorsements(signed)
        assert len(packed) == 65 * len(items)
        back = messages.unpack_endorsements(packed, proposal=b"p" * 32, **COMMON)  # type: ignore[arg-type]
        assert back == sorted(signed, key=lambda item: item.message.index)

    @pytest.mark.parametrize("length", [0, 1, 133, 135, 269])
    def test_broken_length_is_refused(self, length: int) -> None:
        with pytest.raises(errors.WireError) as caught:
            messages.unpack_commits(bytes(length), **COMMON)  # type: ignore[arg-type]
        assert caught.value.length == length and caught.value.item_length == 134

    def test_seat_beyond_the_bitmap_is_refused_and_never_shifted(self) -> None:
        with pytest.raises(errors.RecordError):
            messages.unpack_reveals(b"\0\x80" + bytes(142))
        with pytest.raises(errors.RecordError):
            messages.unpack_endorsements(b"\x80" + bytes(64), proposal=bytes(32), **COMMON)  # type: ignore[arg-type]
