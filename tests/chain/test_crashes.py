"""kill -9 at every named point of outbox and indexer: each payment happens exactly once, nothing is forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import collegium.chain.indexer
import collegium.chain.journal
import collegium.chain.keystore
import collegium.chain.outbox  # noqa: F401
from collegium.chain import Indexer, Journal, LocalSigner, keystore
from collegium.crashpoints import registered
from collegium.errors import DoubleSignError, KeystoreError
from scripts.setup.paths import ROOT

from .killed import FRIEND, PAYMENTS
from .test_journal import ATTESTATION, DOMAIN, ENDORSEMENT, SIGNER, UPDATE
from .worlds import World

pytestmark = pytest.mark.chain

REPLACING = ("outbox.bump_written", "outbox.bump_broadcast")
DEEP = ("outbox.mined_written",)
REORGANIZED = ("indexer.rolled_back",)
POINTS = [name for name in registered() if name.startswith(("outbox.", "indexer.")) and name not in REORGANIZED]
ONCE = (*REPLACING, *DEEP, "indexer.window_written")
CASES = [(point, passes) for point in POINTS for passes in ((1,) if point in ONCE else (1, 3))]


def run(world: World, folder: Path, *, point: str = "", confirmations: int = 0, bump_after: float = 30) -> int:
    """Exit status of one run of the paying process; negative when killed by a signal."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.chain.killed",
            str(folder),
            world.devnet.url,
            world.devnet.key(0).hex(),
            str(bump_after),
            str(confirmations),
        ],
        cwd=ROOT,
        env={**os.environ, "COLLEGIUM_CRASH_AT": point},
        timeout=60,
        check=False,
    )
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize(("point", "passes"), CASES)
def test_killed_sender_pays_exactly_once(world: World, tmp_path: Path, point: str, passes: int) -> None:
    world.deployment.save(tmp_path / "deployment.json")
    options: dict[str, float] = {}
    if point in DEEP:
        options["confirmations"] = 1
    ticking = threading.Event()
    if point in REPLACING:
        # Nothing is mined until a fee was raised.
        options["bump_after"] = 0.2
        world.automine(False)
    elif point in DEEP:
        threading.Thread(target=_tick, args=(world, ticking), daemon=True).start()
    try:
        assert run(world, tmp_path, point=f"{point}:{passes}", **options) == -signal.SIGKILL
        world.automine(True)
        world.mine()
        assert run(world, tmp_path, **options) == 0
        assert run(world, tmp_path, **options) == 0
    finally:
        ticking.set()
    assert world.balance(FRIEND) == sum(PAYMENTS)
    chain = world.chain()
    logs = chain.rpc.request(
        "eth_getLogs", {"address": world.deployment.addresses["CollegiumToken"], "fromBlock": "0x0"}
    )
    assert len(logs) == 1 + len(PAYMENTS)


def _tick(world: World, stop: threading.Event) -> None:
    while not stop.is_set():
        # Slowly: a payment must be seen in a block before another one lies on top of it.
        time.sleep(1.0)
        world.mine()


def test_two_processes_with_one_outbox_pay_once(world: World, tmp_path: Path) -> None:
    world.deployment.save(tmp_path / "deployment.json")
    threads = [threading.Thread(target=run, args=(world, tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.balance(FRIEND) == sum(PAYMENTS)


def test_killed_rollback_is_finished(world: World, tmp_path: Path) -> None:
    world.deployment.save(tmp_path / "deployment.json")
    assert run(world, tmp_path) == 0
    world.rpc.request("anvil_reorg", 2, [])
    # The payments that the reorganization undid count as confirmed here; only the index must follow.
    assert run(world, tmp_path, point="indexer.rolled_back") == -signal.SIGKILL
    with Indexer(tmp_path / "index.db", world.chain()) as indexer:
        indexer.sync()
        amounts = [event.args["value"] for event in indexer.events(name="Transfer")]
    assert sum(amounts[1:]) == world.balance(FRIEND) == PAYMENTS[0]


def _killed_child(point: str, act: str, folder: Path) -> None:
    """Run a line of Python that must die at `point`."""
    done = subprocess.run(
        [sys.executable, "-c", act],
        cwd=ROOT,
        env={**os.environ, "COLLEGIUM_CRASH_AT": point, "FOLDER": str(folder)},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


JOURNAL = {
    "journal.update_written": "sign_update(UPDATE)",
    "journal.attestation_written": "sign_attestation(ATTESTATION)",
    "journal.endorsement_written": "sign_endorsement(ENDORSEMENT, 0)",
    "journal.signed": "sign_update(UPDATE)",
}


@pytest.mark.parametrize("point", JOURNAL)
def test_killed_signer_refuses_a_different_message(tmp_path: Path, point: str) -> None:
    act = (
        "import os; from pathlib import Path; from collegium.chain import Journal;"
        "from tests.chain.test_journal import *;"
        f"Journal(Path(os.environ['FOLDER']) / 'journal.db', DOMAIN, SIGNER).{JOURNAL[point]}"
    )
    _killed_child(point, act, tmp_path)
    other = b"\xff" * 32
    with Journal(tmp_path / "journal.db", DOMAIN, SIGNER) as journal:
        if "update" in JOURNAL[point]:
            assert journal.find_update(UPDATE.study_id, UPDATE.round) == (UPDATE, None)
            journal.sign_update(UPDATE)
            with pytest.raises(DoubleSignError):
                journal.sign_update(replace(UPDATE, commitment=other))
        elif "attestation" in JOURNAL[point]:
            journal.sign_attestation(ATTESTATION)
            with pytest.raises(DoubleSignError):
                journal.sign_attestation(replace(ATTESTATION, set_hash=other))
        else:
            journal.sign_endorsement(ENDORSEMENT, 0)
            with pytest.raises(DoubleSignError):
                journal.sign_endorsement(replace(ENDORSEMENT, proposal=other), 0)


def test_every_named_point_of_this_package_is_killed_at() -> None:
    parts = ("outbox.", "indexer.", "journal.", "keystore.")
    named = {name for name in registered() if name.startswith(parts)}
    assert named == {point for point, _ in CASES} | set(REORGANIZED) | set(JOURNAL) | {each[0] for each in KEYSTORE}


KEYSTORE = [("keystore.encrypted", False), ("keystore.written", True)]


@pytest.mark.parametrize(("point", "is_there"), KEYSTORE)
def test_killed_keystore_is_whole_or_absent(tmp_path: Path, point: str, is_there: bool) -> None:
    act = (
        "import os; from pathlib import Path; from collegium.chain import keystore;"
        "keystore.create(Path(os.environ['FOLDER']) / 'keys' / 'node.json', 'secret', light=True)"
    )
    _killed_child(point, act, tmp_path)
    path = tmp_path / "keys" / "node.json"
    if is_there:
        assert isinstance(keystore.load(path, "secret"), LocalSigner)
    else:
        with pytest.raises(KeystoreError):
            keystore.load(path, "secret")
