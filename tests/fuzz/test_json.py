"""Decoders of foreign JSON and TOML, and the audit of exports that somebody made on purpose."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st

from collegium.audit import audit_export
from collegium.audit.answers import Answers
from collegium.audit.bundle import SCHEMA, open_bundle, write_bundle
from collegium.audit.transactions import encode_transaction
from collegium.chain import Deployment
from collegium.chain.receipts import compute_block_hash, compute_receipts_root, may_contain
from collegium.chain.trie import compute_ordered_root
from collegium.config import Layered
from collegium.council import Decision, read_applicant
from collegium.encoding import FormatTable
from collegium.errors import CollegiumError
from collegium.messages import Domain
from collegium.records import Admit
from collegium_client.plan import PlanFile, PublishedPlan
from collegium_client.settings import DEFAULTS, Settings
from collegium_client.worker import read_frame
from tests.fuzz import samples
from tests.fuzz.mutations import FUZZ, SLOW_FUZZ, mutated, mutated_json, mutated_text, never_crashes

MALFORMED = (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError)
"""What readers of a node's answers may raise: the audit turns them into findings (`history._MALFORMED`)."""


def in_file(content: str, read: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        return never_crashes(lambda: read(path))


class TestPlansAndDeployments:
    @FUZZ
    @given(mutated_json(samples.PUBLISHED))
    def test_published_plan(self, content: Any) -> None:
        data = json.dumps(content).encode()
        never_crashes(lambda: PublishedPlan.parse(data, plan=samples.PLAN, format=samples.FORMAT))

    @FUZZ
    @given(mutated_json(samples.PUBLISHED["format"]["tensors"]))
    def test_format_table(self, rows: Any) -> None:
        never_crashes(lambda: FormatTable.from_json(json.dumps(rows), exponent=16, bound=1 << 20, weighted=True))

    @FUZZ
    @given(mutated_json(samples.DEPLOYMENT))
    def test_deployment(self, content: Any) -> None:
        never_crashes(lambda: Deployment.from_json(content))

    @SLOW_FUZZ
    @given(mutated_text(json.dumps(samples.DEPLOYMENT)))
    def test_deployment_file(self, text: str) -> None:
        in_file(text, Deployment.load)

    @SLOW_FUZZ
    @given(mutated_json({name: dict(table) for name, table in DEFAULTS.items()}))
    def test_settings(self, tables: Any) -> None:
        import tomlkit

        try:
            text = tomlkit.dumps(tables)
        except Exception:
            # TOML cannot say everything that Python can.
            text = str(tables)
        in_file(text, lambda path: Layered.load(DEFAULTS, path, environment={}, free=("data", "coordinator")))

    @SLOW_FUZZ
    @given(mutated_text('[network]\nrpc_url = "http://127.0.0.1:1"\nchain_id = 5\n[stores]\nown = ["file:///a"]\n'))
    def test_settings_file(self, text: str) -> None:
        def read(path: Path) -> None:
            path.rename(path.with_name("collegium.toml"))
            Settings.load(path.parent, {})

        in_file(text, read)

    @SLOW_FUZZ
    @given(mutated_text('[study]\ntitle = "t"\nretention_days = 30\n[rounds]\nrate = [1, 2]\n[money]\nduty_fine = "1"'))
    def test_plan_file(self, text: str) -> None:
        in_file(text, PlanFile.load)


class TestCouncil:
    DECISION = Decision(Admit(samples.DOMAIN.contract, bytes(32), "name", 1, 2), Domain(5, samples.DOMAIN.contract))

    @SLOW_FUZZ
    @given(mutated_json(DECISION.to_json()))
    def test_decision(self, content: Any) -> None:
        in_file(json.dumps(content), Decision.load)

    @SLOW_FUZZ
    @given(mutated_json({"data": {"request": {"institution": samples.DOMAIN.contract, "name": "n", "profile": "0x1"}}}))
    def test_applicant(self, content: Any) -> None:
        in_file(json.dumps(content), lambda path: read_applicant(str(path)))


class TestNode:
    """What a chain's node answers."""

    @FUZZ
    @given(mutated_json(samples.HEADER))
    def test_header(self, header: Any) -> None:
        never_crashes(lambda: compute_block_hash(header), MALFORMED)
        if isinstance(header, dict) and isinstance(header.get("logsBloom"), str):
            never_crashes(lambda: may_contain(header["logsBloom"], b"\1" * 20), MALFORMED)

    @FUZZ
    @given(mutated_json([samples.RECEIPT, samples.RECEIPT]))
    def test_receipts(self, receipts: Any) -> None:
        never_crashes(lambda: compute_receipts_root(receipts), MALFORMED)

    @FUZZ
    @given(mutated_json(samples.TRANSACTION))
    def test_transaction(self, fields: Any) -> None:
        never_crashes(lambda: encode_transaction(fields), MALFORMED)

    @FUZZ
    @given(st.lists(st.binary(max_size=80), max_size=40))
    def test_trie(self, values: list[bytes]) -> None:
        assert len(compute_ordered_root(values)) == 32


class TestTask:
    @FUZZ
    @given(mutated(b"\0\0\0\x0b" + b'{"ok":true}'))
    def test_frame_of_a_confined_process(self, data: bytes) -> None:
        never_crashes(lambda: read_frame(io.BytesIO(data)), (CollegiumError, ValueError))


class TestExports:
    MANIFEST: ClassVar[dict[str, Any]] = {
        "schema": SCHEMA, "version": "0", "study": 1, "chain_id": 31337,
        "head": {"number": 2, "hash": "0x" + "11" * 32, "time": 3}, "blobs": [], "missing": [],
    }  # fmt: skip

    @SLOW_FUZZ
    @given(mutated(b'{"params":["0x1",false],"result":{"number":"0x1"}}\n{"params":[],"error":{"code":1}}\n'))
    def test_answers(self, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder, Answers(Path(folder) / "answers.sqlite") as answers:
            never_crashes(lambda: answers.load("chain/headers.jsonl", io.BytesIO(data)))

    @SLOW_FUZZ
    @given(mutated_json(MANIFEST), mutated_json(samples.DEPLOYMENT), st.booleans())
    def test_export_made_on_purpose(self, manifest: Any, deployment: Any, sound: bool) -> None:
        """Sealed by somebody who knows the format."""
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "deployment.json"
            part.write_text(json.dumps(samples.DEPLOYMENT if sound else deployment))
            if not isinstance(manifest, dict):
                manifest = {"schema": SCHEMA, "x": manifest}
            path = Path(folder) / "export.zip"
            try:
                write_bundle(path, {"deployment.json": part}, manifest, lambda *_: None)
            except (TypeError, ValueError):
                return
            found = never_crashes(lambda: audit_export(path))
            assert found is None or found.report.verdict != "ok"

    @SLOW_FUZZ
    @given(st.data())
    def test_export_with_noise(self, data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "export.zip"
            write_bundle(path, {}, self.MANIFEST, lambda *_: None)
            path.write_bytes(data.draw(mutated(path.read_bytes())))
            found = never_crashes(lambda: open_bundle(path, Path(folder) / "parts", lambda *_: None))
            assert found is None or found.manifest["study"] == 1
