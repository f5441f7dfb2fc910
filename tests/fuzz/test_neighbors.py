"""What comes from other sites: certificates, evaluation reports, task manifests, pages of published plans."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given

from collegium.errors import CollegiumError
from collegium.explorer.published import read_published
from collegium.messages import address_of, sign
from collegium.metrics.disclosure import disclose
from collegium.transport.binding import Binding, Domain
from collegium.transport.certificates import load, make, parse
from collegium_client.bundle import _parse_manifest
from collegium_client.evaluation import Report
from tests.fuzz import samples
from tests.fuzz.mutations import FUZZ, mutated, mutated_json, never_crashes


class Key:
    """A node key."""

    address = address_of(samples.KEY)

    def sign_digest(self, digest: bytes, /) -> bytes:
        return sign(digest, samples.KEY)


DOMAIN = Domain(31337, samples.DOMAIN.contract)


def certificate() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificates(make(Key(), DOMAIN, days=2))[0].public_bytes(Encoding.DER)


CERTIFICATE = certificate()
BINDING = Binding.sign(Key(), DOMAIN, public_key=b"spki", expiry=1 << 33).to_der()


class TestCertificates:
    @FUZZ
    @given(mutated(CERTIFICATE))
    def test_certificate(self, der: bytes) -> None:
        never_crashes(lambda: load(der))
        found = never_crashes(lambda: parse(der, DOMAIN))
        # Whatever else was changed, it speaks for the key that signed, or for nobody.
        assert found is None or found.node == Key.address

    @FUZZ
    @given(mutated(BINDING))
    def test_binding(self, der: bytes) -> None:
        found = never_crashes(lambda: Binding.from_der(der))
        if found is not None:
            never_crashes(lambda: found.verify(b"spki"))


def report() -> dict[str, Any]:
    scores, labels = [index / 100 for index in range(100)], [index % 3 == 0 for index in range(100)]
    return {
        "schema": "collegium.evaluation/1", "model": {"study": 1}, "institution": samples.DOMAIN.contract,
        "node_key": Key.address, "date": "2026-01-01", "signature": "11" * 64,
        "disclosed": disclose(scores, labels).to_json(),
    }  # fmt: skip


class TestOtherSites:
    @FUZZ
    @given(mutated_json(report()))
    def test_evaluation_report(self, content: Any) -> None:
        never_crashes(lambda: Report.parse(json.dumps(content).encode()))

    @FUZZ
    @given(mutated(json.dumps(report()).encode()))
    def test_evaluation_report_as_bytes(self, data: bytes) -> None:
        never_crashes(lambda: Report.parse(data))

    @FUZZ
    @given(mutated_json({"task.py": "11" * 32, "lib/more.py": "22" * 32}))
    def test_task_manifest(self, content: Any) -> None:
        data = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        found = never_crashes(lambda: _parse_manifest(data.encode("utf-8", "surrogatepass")))
        for name in found or ():
            assert not name.startswith("/") and ".." not in name.split("/") and "\0" not in name

    @FUZZ
    @given(mutated_json(samples.PUBLISHED))
    def test_published_plan_on_a_page(self, content: Any) -> None:
        never_crashes(lambda: read_published(json.dumps(content).encode()), (CollegiumError,))
