"""A final model that no store has yet is asked for again; one that nobody ever has keeps no client from ending."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from collegium.encoding import BlobKind, FormatTable, pack_blob, parse_blob
from collegium.errors import BlobNotFoundError, VerificationError
from collegium.storage import cid_of
from collegium_client import keeping
from collegium_client.keeping import ModelKeeper

TABLE = FormatTable([("weight", (64,))], exponent=16, bound=1 << 20)
BLOB = pack_blob(BlobKind.MODEL, np.arange(64, dtype=np.int32), format_id=TABLE.format_id)
CID = cid_of(BLOB).text


class Source:
    """Answers what it is told to, in order; the last for ever."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)

    def model(self, cid: Any, **_: Any) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer
        return SimpleNamespace(cid=cid, elements=parse_blob(BLOB, kind=BlobKind.MODEL).elements)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(keeping.time, "monotonic", lambda: clock.now)
    return clock


def keeper_of(source: Source, folder: Path) -> tuple[ModelKeeper, list[str], Any]:
    told: list[str] = []
    parts: Any = SimpleNamespace(
        report=lambda event, **_: told.append(event), source=source, table=TABLE, models=folder, state=folder,
        pusher=SimpleNamespace(push=lambda cid, wait: True), signer=SimpleNamespace(address="0x" + "11" * 20),
        sandbox=SimpleNamespace(evaluate=lambda state, buffers: {"loss": 0.0}),
    )  # fmt: skip
    snapshot = SimpleNamespace(node_keys=())
    round = SimpleNamespace(ctx=bytes(32), record=bytes(32), disputed=None, snapshot=snapshot, number=1)
    return ModelKeeper(parts, 1), told, SimpleNamespace(model=(bytes(32), CID, 1), round=lambda number: round)


class TestModelKeeper:
    def test_asked_for_again_until_it_comes(self, tmp_path: Path, clock: SimpleNamespace) -> None:
        missing = BlobNotFoundError("nobody has it")
        keeper, told, view = keeper_of(Source(missing, missing, None), tmp_path)
        keeper.keep(view)
        keeper.keep(view)  # too soon: nobody is asked
        assert keeper.finished is None and told == ["round_final", "model_unavailable"]
        for _ in range(2):
            clock.now += keeping.RETRY_SECONDS
            keeper.keep(view)
        assert keeper.finished == 1 and told[2:] == ["evaluated"]
        assert (tmp_path / "study-1.safetensors").exists()

    def test_given_up_in_the_end(self, tmp_path: Path, clock: SimpleNamespace) -> None:
        keeper, told, view = keeper_of(Source(BlobNotFoundError("nobody has it")), tmp_path)
        while keeper.finished is None:
            keeper.keep(view)
            clock.now += keeping.RETRY_SECONDS
            assert clock.now < 1000 + 2 * keeping.PATIENCE_SECONDS
        assert told.count("model_unavailable") == 1

    def test_wrong_bytes_are_not_asked_for_again(self, tmp_path: Path, clock: SimpleNamespace) -> None:
        keeper, _, view = keeper_of(Source(VerificationError("another root")), tmp_path)
        keeper.keep(view)
        assert keeper.finished == 1
