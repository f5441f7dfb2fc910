"""Certificates and the files that hold them: whatever is wrong is told, nothing foreign passes."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from collegium.errors import CollegiumError
from collegium.transport import certificates
from collegium.transport.binding import OID, Binding
from collegium.transport.errors import (
    CertificateError,
    CertificateExpiredError,
    CertificateForeignError,
    CertificateMissingError,
    CertificateNotYetValidError,
    CertificateUnboundError,
)
from collegium.transport.identity import install

from .parties import DAY, DOMAIN, ELSEWHERE, Party, signer_of

NOW = 1_800_000_000


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def rebind(binding: Binding, public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Anybody can issue under the anchor: a certificate with a binding taken from elsewhere."""
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID), binding.to_der())
    made = (
        certificates.leaf(public_key, name="x", names=(), not_before=NOW, not_after=NOW + 100 * DAY)
        .issuer_name(certificates._anchor().subject)
        .add_extension(extension, critical=False)
        .sign(certificates._anchor_key(), None)
    )
    return made.public_bytes(Encoding.DER)


class TestParse:
    def test_own_certificate_is_verified(self) -> None:
        pem = certificates.make(signer_of("alder"), DOMAIN, days=90, now=NOW)
        bound = certificates.parse(der_of(pem), DOMAIN, now=NOW + DAY)
        assert bound.node == signer_of("alder").address
        assert bound.not_after == NOW + 90 * DAY and bound.not_before < NOW

    def test_expired_says_when_and_names_the_clock(self) -> None:
        pem = certificates.make(signer_of("alder"), DOMAIN, days=1, now=NOW)
        with pytest.raises(CertificateExpiredError, match=r"expired on 2027-01-16.*clock here says 2027") as caught:
            certificates.parse(der_of(pem), DOMAIN, now=NOW + DAY)
        assert "tls new" in caught.value.hint

    def test_not_yet_valid_says_clock(self) -> None:
        pem = certificates.make(signer_of("alder"), DOMAIN, days=1, now=NOW)
        with pytest.raises(CertificateNotYetValidError, match="clock") as caught:
            certificates.parse(der_of(pem), DOMAIN, now=NOW - 3600)
        assert "NTP" in caught.value.hint

    @pytest.mark.parametrize("domain", [ELSEWHERE, type(DOMAIN)(31337, "0x" + "11" * 20)], ids=["chain", "contract"])
    def test_other_chain_or_contract_is_foreign(self, domain: object) -> None:
        pem = certificates.make(signer_of("alder"), domain, days=1, now=NOW)  # type: ignore[arg-type]
        with pytest.raises(CertificateForeignError, match="on chain 31337"):
            certificates.parse(der_of(pem), DOMAIN, now=NOW)

    def test_binding_of_somebody_else_does_not_fit_our_key(self) -> None:
        stolen = certificates.find_binding(
            x509.load_pem_x509_certificate(certificates.make(signer_of("alder"), DOMAIN, days=90, now=NOW))
        )
        assert stolen is not None
        der = rebind(stolen, ec.generate_private_key(ec.SECP256R1()).public_key())
        with pytest.raises(CertificateError, match="did not sign its public key"):
            certificates.parse(der, DOMAIN, now=NOW)

    def test_dates_of_the_certificate_cannot_outlive_the_binding(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        binding = Binding.sign(
            signer_of("alder"), DOMAIN, public_key=certificates.public_key_der(key), expiry=NOW + DAY
        )
        assert certificates.parse(rebind(binding, key), DOMAIN, now=NOW).not_after == NOW + DAY
        with pytest.raises(CertificateExpiredError):
            certificates.parse(rebind(binding, key), DOMAIN, now=NOW + 2 * DAY)

    def test_ordinary_certificate_is_unbound(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            certificates.leaf(key.public_key(), name="host", names=("host",), not_before=NOW, not_after=NOW + DAY)
            .issuer_name(certificates._anchor().subject)
            .sign(certificates._anchor_key(), None)
        )
        with pytest.raises(CertificateUnboundError, match="bound to no node key"):
            certificates.parse(made, DOMAIN, now=NOW)

    @given(st.binary(max_size=200))
    def test_any_extension_value_is_refused_or_kept(self, value: bytes) -> None:
        with contextlib.suppress(CertificateError):
            assert Binding.from_der(value).to_der() == value

    @settings(max_examples=60, deadline=None)
    @given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
    def test_no_flipped_bit_passes(self, at: int, bit: int) -> None:
        der = bytearray(_DER)
        der[at % len(der)] ^= 1 << bit
        try:
            bound = certificates.parse(bytes(der), DOMAIN, now=NOW)
        except CollegiumError:
            return
        # What lies outside the binding may differ; whom it binds to, and until when, may not.
        assert bound.node == signer_of("alder").address and bound.not_after <= NOW + 90 * DAY


_DER = der_of(certificates.make(signer_of("alder"), DOMAIN, days=90, now=NOW))


class TestFiles:
    def test_made_when_missing_and_private(self, tmp_path: Path) -> None:
        party = Party(tmp_path, "alder")
        certificate = party.identity().ensure()
        assert party.tls.certificate.stat().st_mode & 0o777 == 0o600
        assert party.tls.certificate.parent.stat().st_mode & 0o777 == 0o700
        assert certificates.parse(certificate, DOMAIN).node == party.node

    def test_missing_without_node_key_names_the_command(self, tmp_path: Path) -> None:
        with pytest.raises(CertificateMissingError) as caught:
            Party(tmp_path, "alder").identity(with_key=False).ensure()
        assert "collegium tls new" in caught.value.hint

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_truncated_pem_is_told(self, tmp_path: Path, share: float) -> None:
        party = Party(tmp_path, "alder")
        pem = party.write()
        party.put(pem[: int(len(pem) * share)])
        with pytest.raises(CertificateError, match=r"cut off or damaged|holds no certificate") as caught:
            party.identity(with_key=False).ensure()
        assert str(party.tls.certificate) in caught.value.message

    def test_loose_permissions_are_refused_with_the_command(self, tmp_path: Path) -> None:
        party = Party(tmp_path, "alder")
        party.put(party.write(), mode=0o644)
        party.tls.certificate.chmod(0o644)
        with pytest.raises(CertificateError, match="0644") as caught:
            party.identity().ensure()
        assert f"chmod 600 {party.tls.certificate}" in caught.value.hint

    def test_key_of_another_certificate_is_told(self, tmp_path: Path) -> None:
        party = Party(tmp_path, "alder")
        one, two = party.write(), party.write()
        cut = b"-----BEGIN CERTIFICATE-----"
        party.put(one[: one.index(cut)] + two[two.index(cut) :])
        with pytest.raises(CertificateError, match="not that of the certificate"):
            party.identity().ensure()


class TestRenewal:
    def test_renewed_in_time_while_the_node_key_is_at_hand(self, tmp_path: Path) -> None:
        party = Party(tmp_path, "alder")
        party.write(at=time.time() - 70 * DAY)
        before = party.tls.certificate.read_bytes()
        fresh = party.identity().ensure()
        assert party.tls.certificate.read_bytes() != before
        assert party.identity().ends(fresh) > time.time() + 89 * DAY

    def test_kept_while_there_is_time(self, tmp_path: Path) -> None:
        party = Party(tmp_path, "alder")
        before = party.write(at=time.time() - 20 * DAY)
        party.identity().ensure()
        assert party.tls.certificate.read_bytes() == before

    def test_expired_without_node_key_is_an_error(self, tmp_path: Path) -> None:
        party = Party(tmp_path, "alder")
        party.write(at=time.time() - 91 * DAY)
        with pytest.raises(CertificateExpiredError, match="This home's"):
            party.identity(with_key=False).ensure()

    def test_rotated_node_key_gets_its_own(self, tmp_path: Path) -> None:
        party = Party(tmp_path, "alder")
        party.write()
        party.signer = signer_of("alder's next")
        assert certificates.parse(party.identity().ensure(), DOMAIN).node == party.node


def test_install_takes_only_a_certificate_for_our_key(tmp_path: Path) -> None:
    party, other = Party(tmp_path, "alder"), Party(tmp_path, "birch")
    party.write()
    foreign = tmp_path / "issued.pem"
    foreign.write_bytes(other.write())
    before = party.tls.certificate.read_bytes()
    with pytest.raises(CertificateError, match="another key"):
        install(party.identity(with_key=False), foreign)
    assert party.tls.certificate.read_bytes() == before
