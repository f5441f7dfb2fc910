"""The journal: one update per seat and round, for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.chain import Journal, LocalSigner
from collegium.errors import ConfigError, DoubleSignError
from collegium.messages import Domain, verify_signed
from collegium.records import Attestation, Endorsement, ExtFields, Reveal, Update

DOMAIN = Domain(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")
SIGNER = LocalSigner(bytes(31) + b"\x07")
UPDATE = Update(1, 2, b"\x01" * 32, 3, b"\x02" * 32, 5, b"\x03" * 32)
REVEAL = Reveal(3, b"\x04" * 32, b"\x05" * 32, b"\x06" * 32, 5, ExtFields(0, 1, 10, bytes(32)))
ATTESTATION = Attestation(1, 2, b"\x01" * 32, 3, 0b01, b"\x02" * 32)
ENDORSEMENT = Endorsement(1, 2, b"\x01" * 32, 3, b"\x02" * 32)
FIELDS = st.sampled_from(["ctx", "commitment", "weight", "ext"])


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db", DOMAIN, SIGNER)


class TestUpdates:
    def test_recorded_update_is_signed(self, journal: Journal) -> None:
        signed = journal.sign_update(UPDATE, REVEAL)
        verify_signed(signed, DOMAIN, SIGNER.address)
        assert journal.find_update(1, 2) == (UPDATE, REVEAL)

    def test_same_update_may_be_signed_again(self, journal: Journal) -> None:
        assert journal.sign_update(UPDATE) == journal.sign_update(UPDATE, REVEAL)
        assert journal.find_update(1, 2) == (UPDATE, REVEAL)

    @given(field=FIELDS)
    def test_different_update_is_refused(self, field: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        other = replace(UPDATE, **{field: 6 if field == "weight" else b"\xff" * 32})
        with Journal(tmp_path_factory.mktemp("journal") / "journal.db", DOMAIN, SIGNER) as journal:
            journal.sign_update(UPDATE)
            with pytest.raises(DoubleSignError):
                journal.sign_update(other)
            assert journal.find_update(1, 2) == (UPDATE, None)

    def test_refusal_survives_a_restart(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "journal.db", DOMAIN, SIGNER) as journal:
            journal.sign_update(UPDATE)
        with Journal(tmp_path / "journal.db", DOMAIN, SIGNER) as journal, pytest.raises(DoubleSignError):
            journal.sign_update(replace(UPDATE, weight=6))

    def test_other_round_chain_and_key_are_free(self, journal: Journal, tmp_path: Path) -> None:
        journal.sign_update(UPDATE)
        other = replace(UPDATE, commitment=b"\xff" * 32)
        journal.sign_update(replace(other, round=3))
        path = tmp_path / "journal.db"
        Journal(path, Domain(1, DOMAIN.contract), SIGNER).sign_update(other)
        Journal(path, DOMAIN, LocalSigner(bytes(31) + b"\x08")).sign_update(other)
        with pytest.raises(DoubleSignError):
            Journal(path, DOMAIN, SIGNER).sign_update(other)


class TestAttestations:
    def test_wider_bitmap_may_follow(self, journal: Journal) -> None:
        journal.sign_attestation(ATTESTATION)
        journal.sign_attestation(replace(ATTESTATION, bitmap=0b11))

    def test_other_set_is_refused(self, journal: Journal) -> None:
        journal.sign_attestation(ATTESTATION)
        with pytest.raises(DoubleSignError):
            journal.sign_attestation(replace(ATTESTATION, set_hash=b"\xff" * 32))


class TestEndorsements:
    def test_one_proposal_per_attempt(self, journal: Journal) -> None:
        other = replace(ENDORSEMENT, proposal=b"\xff" * 32)
        journal.sign_endorsement(ENDORSEMENT, attempt=0)
        journal.sign_endorsement(ENDORSEMENT, attempt=0)
        with pytest.raises(DoubleSignError):
            journal.sign_endorsement(other, attempt=0)
        journal.sign_endorsement(other, attempt=1)
        assert journal.has_endorsed(1, 2, other.proposal)
        assert not journal.has_endorsed(1, 2, b"\x07" * 32)


class TestMoving:
    def test_imported_journal_refuses_what_the_exported_one_did(self, journal: Journal, tmp_path: Path) -> None:
        journal.sign_update(UPDATE, REVEAL)
        moved = Journal(tmp_path / "moved.db", DOMAIN, SIGNER)
        assert moved.import_(journal.export()) == 1
        assert moved.import_(journal.export()) == 0
        assert moved.find_update(1, 2) == (UPDATE, REVEAL)
        with pytest.raises(DoubleSignError):
            moved.sign_update(replace(UPDATE, weight=6))

    def test_contradicting_import_changes_nothing(self, journal: Journal, tmp_path: Path) -> None:
        journal.sign_update(replace(UPDATE, round=1))
        journal.sign_update(UPDATE)
        other = Journal(tmp_path / "other.db", DOMAIN, SIGNER)
        other.sign_update(replace(UPDATE, weight=6))
        with pytest.raises(DoubleSignError):
            other.import_(journal.export())
        assert other.find_update(1, 1) is None

    def test_strange_file_is_refused(self, journal: Journal) -> None:
        with pytest.raises(ConfigError):
            journal.import_({"version": "2"})
