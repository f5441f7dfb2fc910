"""A home: one party's folder, and what is opened from it.

collegium.toml   keystore/   state/   store/   tasks/   logs/   models/
"""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collegium.errors import KeyMissingError, PreconditionError
from collegium.files import write_atomically

from .settings import FILE, Settings
from .task import Approvals

if TYPE_CHECKING:
    from collegium.chain import Chain, Indexer, Journal, NetworkSettings, Outbox, Signer
    from collegium.egress import EgressLog
    from collegium.inputs import BlobSource
    from collegium.records import Format
    from collegium.storage import BlobFolder, MultiStore, Store
    from collegium.transport.client import Transport

__all__ = ["Home"]


class Home:
    """Opens things lazily; every path is below `folder` unless the settings say otherwise."""

    def __init__(
        self, folder: Path, *, password_file: Path | None = None, flags: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self.settings = Settings.load(folder, flags=flags)
        self._password_file = password_file
        self._signers: dict[str, Signer] = {}

    def require(self) -> Home:
        """Raise unless the folder was initialized."""
        if not (self.folder / FILE).exists():
            raise PreconditionError(
                f"{self.folder} is no home: it has no {FILE}.",
                hint="Run `collegium init`, or name the folder with --home.",
            )
        return self

    # -- keys -------------------------------------------------------------------------------------------------

    def keystore(self, role: str) -> Path:
        """Path of the `institution` (cold) or `node` (hot) key, or of another alias in the keystore folder."""
        if role in ("institution", "node"):
            return self.settings.path("keys", role)
        return self.folder / "keystore" / f"{role}.json"

    def password(self, *, confirm: bool = False, prompt: str = "Password: ") -> str:
        """From --password-file, COLLEGIUM_PASSWORD_FILE, keys.password_file, or a prompt."""
        import os

        from collegium.chain import keystore

        file = self._password_file
        if file is None and keystore.PASSWORD_FILE_VARIABLE not in os.environ:
            named = self.settings.get("keys", "password_file")
            file = self.settings.path("keys", "password_file") if named else None
        return keystore.read_password(file, prompt=prompt, confirm=confirm)

    def signer(self, role: str) -> Signer:
        """Unlock a key, once per process. Raises `KeyMissingError`, `WrongPasswordError`."""
        if role not in self._signers:
            from collegium.chain import keystore

            path = self.keystore(role)
            if not path.exists():
                raise KeyMissingError(
                    f"There is no {role} key at {path}.", hint=f"Make one: `collegium keys new {role}`."
                )
            self._signers[role] = keystore.load(path, self.password(prompt=f"Password of the {role} key: "))
        return self._signers[role]

    def unlocked(self, role: str) -> Signer | None:
        """A key that this process unlocked already; None leaves the user alone."""
        return self._signers.get(role)

    def address(self, role: str) -> str | None:
        """The address in a key file, without its password; None when there is no such file."""
        from collegium.chain import keystore

        path = self.keystore(role)
        return keystore.address_of(path) if path.exists() else None

    def salt_secret(self, study_id: int, *, create: bool = False) -> bytes:
        """The secret behind the salts of a study, made when joining."""
        path = self.folder / "keystore" / f"salt-{study_id}.hex"
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, secrets.token_hex(32).encode(), mode=0o600)
        try:
            return bytes.fromhex(path.read_text().strip())
        except (OSError, ValueError) as error:
            raise KeyMissingError(
                f"The salt secret of study {study_id} is missing or damaged: {path}.",
                hint=f"Restore it from a backup, or leave and `collegium join {study_id}` anew.",
            ) from error

    # -- chain ------------------------------------------------------------------------------------------------

    def chain(self, role: str | None = None) -> Chain:
        """Connect; with a role, transactions are signed by that key."""
        from collegium.chain import Chain

        # Whoever only reads a chain, an auditor for one, may have no home at all.
        egress = self.egress if (self.folder / FILE).exists() else None
        return Chain.connect(self.network, self.signer(role) if role else None, egress=egress)

    @property
    def network(self) -> NetworkSettings:
        """The `[network]` table."""
        from collegium.chain import NetworkSettings

        return NetworkSettings.of(self.settings.tables()["network"], self.folder)

    @cached_property
    def egress(self) -> EgressLog:
        """Where everything that leaves this home is written down first."""
        from collegium import egress

        return egress.EgressLog(self.folder / "state" / egress.FILE)

    @cached_property
    def transport(self) -> Transport:
        """How coordinators and stores are reached: proxy, TLS, and what each must prove."""
        from .reaching import make_transport

        return make_transport(self, self._signers)

    @property
    def state(self) -> Path:
        """Folder of everything that must survive a crash."""
        path = self.folder / "state"
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def indexer(self, chain: Chain) -> Indexer:
        """The event index of this home."""
        from collegium.chain import Indexer

        return Indexer(self.state / "index.sqlite", chain)

    def outbox(self, chain: Chain) -> Outbox:
        """The outbox of the chain's signer."""
        from collegium.chain import Outbox

        return Outbox(self.state / f"outbox-{chain.signer.address.lower()[2:10]}.sqlite", chain)

    def journal(self, chain: Chain) -> Journal:
        """The journal through which the chain's signer signs everything of a round."""
        from collegium.chain import Journal

        return Journal(self.state / "journal.sqlite", chain.domain(), chain.signer)

    # -- blobs ------------------------------------------------------------------------------------------------

    @property
    def store(self) -> BlobFolder:
        """This party's own folder of blobs."""
        from collegium.storage import BlobFolder

        return BlobFolder(self.folder / "store")

    def stores_to_read(self, chain_id: int = 0) -> MultiStore:
        """Own folder first, then every other store."""
        from collegium.storage import MultiStore, open_store

        others = (open_store(uri, chain_id=chain_id, transport=self.transport) for uri in self.settings.read_stores)
        return MultiStore([self.store, *others])

    def stores_to_push(self, study_id: int, chain_id: int, signer: Signer) -> list[Store]:
        """Where a revealed blob goes, noted in the egress log: own published stores and those of the coordinators."""
        from collegium.storage import open_store
        from collegium.storage.recorded import RecordedStore

        uris = dict.fromkeys([*self.settings.get("stores", "own"), *self.settings.push_stores])
        options: dict[str, Any] = {"chain_id": chain_id, "transport": self.transport}
        opened = (open_store(str(uri), signer, study_id, **options) for uri in uris)
        return [RecordedStore(store, self.egress) for store in opened]

    def blobs(self, format: Format, chain_id: int = 0) -> BlobSource:
        """Where the blobs of a study come from."""
        from collegium.inputs import BlobSource

        threads = self.settings.get("node", "threads")
        return BlobSource(self.store, self.stores_to_read(chain_id), format, threads)

    # -- tasks and processes ----------------------------------------------------------------------------------

    @property
    def approvals(self) -> Approvals:
        """Tasks that may run here."""
        return Approvals(self.folder / "tasks")

    @property
    def protected(self) -> tuple[Path, ...]:
        """Folders that task code must never read."""
        return tuple(self.folder / name for name in ("keystore", "state", "store", "tls"))

    @property
    def logs(self) -> Path:
        """Folder of logs."""
        path = self.folder / "logs"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Hold a lock of this home, so that two processes never do the same work."""
        with (self.state / f"{name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise PreconditionError(
                    f"Another `{name}` is running on {self.folder}.",
                    hint="Stop it first; two of them would get in each other's way.",
                ) from error
            yield
