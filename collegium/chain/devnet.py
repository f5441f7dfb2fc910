"""A chain of one's own: Anvil on a free loopback port, for demos, tests and first steps.

Blocks are mined as transactions come; time is the machine's own. The node is ended by pid.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from collegium.errors import ChainUnreachableError, PreconditionError
from collegium.files import write_atomically

from .rpc import DEVNET_CHAIN_ID, Rpc, to_int

__all__ = ["Devnet", "DevnetRecord", "find_anvil"]

START_SECONDS = 20.0
STOP_SECONDS = 5.0
ANVIL_VARIABLE = "COLLEGIUM_ANVIL"


def find_anvil() -> Path:
    """Anvil from COLLEGIUM_ANVIL, from this clone, or from PATH.

    Raises PreconditionError when there is none.
    """
    root = Path(__file__).resolve().parents[2]
    for candidate in (os.environ.get(ANVIL_VARIABLE), root / "build" / "bin" / "anvil", shutil.which("anvil")):
        if candidate and Path(candidate).exists():
            return Path(candidate)
    raise PreconditionError(
        "Anvil, the development chain, is not installed.",
        hint=f"Run `make setup` in a clone, install Foundry, or point {ANVIL_VARIABLE} at the program.",
    )


@dataclass(frozen=True, slots=True)
class DevnetRecord:
    """What `devnet up` leaves for `devnet status` and `devnet down`. mnemonic: of the funded accounts."""

    pid: int
    url: str
    chain_id: int
    mnemonic: str
    accounts: int

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(self)).encode(), mode=0o600)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """None when there is none that can be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def is_running(self) -> bool:
        """Whether the recorded process still answers as the recorded chain."""
        try:
            os.kill(self.pid, 0)
            return to_int(Rpc(self.url, timeout=2.0, retry_for=0.0).request("eth_chainId")) == self.chain_id
        except (OSError, ChainUnreachableError):
            return False

    def stop(self) -> bool:
        """End the recorded process; False when it was not ours or not there."""
        if not self.is_running():
            return False
        os.kill(self.pid, signal.SIGTERM)
        give_up = time.monotonic() + STOP_SECONDS
        while time.monotonic() < give_up:
            try:
                # A child of ours would stay as a zombie until it is waited for.
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    return True
            except ChildProcessError:
                pass
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.05)
        os.kill(self.pid, signal.SIGKILL)
        return True


class Devnet:
    """A running Anvil; use as a context manager, or `detach` it and keep the record."""

    def __init__(self, process: subprocess.Popen[bytes], record: DevnetRecord) -> None:
        self.process = process
        self.record = record

    @classmethod
    def start(
        cls,
        *,
        port: int = 0,
        chain_id: int = DEVNET_CHAIN_ID,
        accounts: int = 10,
        block_time: float | None = None,
        hardfork: str = "prague",
        log: Path | None = None,
        state: Path | None = None,
        arguments: Sequence[str] = (),
        own_session: bool = False,
    ) -> Self:
        """Start and wait until it answers.

        port: 0 takes a free one. block_time: seconds between blocks; None mines each transaction at once.
        state: file where the chain is loaded from and saved at the end. own_session: outlive this terminal.
        Raises PreconditionError or ChainUnreachableError.
        """
        anvil = find_anvil()
        for attempt in range(5):
            chosen = port or _free_port()
            mnemonic = _mnemonic()
            command = [
                str(anvil), "--host", "127.0.0.1", "--port", str(chosen), "--chain-id", str(chain_id),
                "--mnemonic", mnemonic, "--accounts", str(accounts), "--hardfork", hardfork,
                *([] if block_time is None else ["--block-time", f"{block_time:g}"]),
                *([] if state is None else ["--state", str(state)]),
                "--quiet", *arguments,
            ]  # fmt: skip
            if log:
                log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") if log else open(os.devnull, "wb") as output:  # noqa: PTH123
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=own_session,
                    preexec_fn=None if own_session else _die_with_parent,
                )
            record = DevnetRecord(process.pid, f"http://127.0.0.1:{chosen}", chain_id, mnemonic, accounts)
            devnet = cls(process, record)
            try:
                if devnet._wait():
                    return devnet
            except BaseException:
                devnet.stop()
                raise
            devnet.stop()
            if port and attempt >= 1:
                break
        raise ChainUnreachableError(
            "Anvil did not start.", hint=f"Look at {log}." if log else "Try `anvil --port 8545` by hand to see why."
        )

    @property
    def url(self) -> str:
        return self.record.url

    def key(self, index: int) -> bytes:
        """Private key of a funded account (BIP-44 path of Anvil)."""
        from eth_account import Account

        Account.enable_unaudited_hdwallet_features()
        account = Account.from_mnemonic(self.record.mnemonic, account_path=f"m/44'/60'/0'/0/{index}")
        return bytes(account.key)

    def stop(self) -> None:
        """End the node; saves its state first when it was asked to."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self) -> bool:
        """Whether the node that answers is this one: a busy port may belong to somebody else's chain."""
        rpc = Rpc(self.url, timeout=2.0, retry_for=0.0)
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                return False
            try:
                from collegium.messages import address_of

                answered = [account.lower() for account in rpc.request("eth_accounts")]
                return address_of(self.key(0)).lower() in answered
            except ChainUnreachableError:
                time.sleep(0.05)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _mnemonic() -> str:
    from eth_account.hdaccount.mnemonic import Mnemonic
    from eth_account.types import Language

    return str(Mnemonic(Language.ENGLISH).to_mnemonic(secrets.token_bytes(16)))


def _die_with_parent() -> None:
    """On Linux the kernel ends the node with the process that started it, however that one ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
