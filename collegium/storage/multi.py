"""Several stores read as one: the first writes, any may answer, liars are named and left aside."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from collegium.errors import BlobOversizedError, CidMismatchError, CollegiumError, ConfigError, StoreUnreachableError
from collegium.observability import metrics
from collegium.storage.cid import Cid, Content
from collegium.storage.errors import BlobUnavailableError
from collegium.storage.folder import BlobFolder
from collegium.storage.recorded import backend_of
from collegium.storage.store import Store

__all__ = ["MultiStore", "PushReport"]

logger = logging.getLogger(__name__)

DOWN_SECONDS = 15.0
"""How long a store that did not answer is asked after the others."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class PushReport:
    """Which stores took a blob, by name, and why the others did not."""

    cid: Cid
    accepted: tuple[str, ...]
    refused: Mapping[str, CollegiumError]


class MultiStore:
    """Reads from any of the stores, in order; writes to the first.

    A store that served other bytes than those asked for is skipped from then on, and tried again only
    when no other store has the blob. A store that did not answer is asked last for a while.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        if not stores:
            raise ConfigError("No store is given.", hint="Name at least one, such as file:///path or http://host:port.")
        self.stores = tuple(stores)
        self._lock = threading.Lock()
        self._liars: dict[str, str] = {}
        self._down: dict[str, float] = {}

    @property
    def name(self) -> str:
        return ", ".join(store.name for store in self.stores)

    @property
    def liars(self) -> Mapping[str, str]:
        """Stores that served wrong bytes, with the first reason."""
        with self._lock:
            return dict(self._liars)

    def put(self, data: Content) -> Cid:
        """Write to the first store."""
        return self.stores[0].put(data)

    def push(self, data: Content) -> PushReport:
        """Write to every store; a store that refuses does not keep the others from getting it.

        Raises:
            BlobUnavailableError: not one store took it.
        """
        accepted: list[str] = []
        refused: dict[str, CollegiumError] = {}
        cid: Cid | None = None
        for store in self.stores:
            try:
                cid = store.put(data)
                accepted.append(store.name)
            except CollegiumError as error:
                refused[store.name] = error
                logger.warning("%s did not take a blob: %s", store.name, error)
        if cid is None:
            raise _unavailable("No store took the blob", refused, ())
        return PushReport(cid, tuple(accepted), refused)

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        """The blob from the first store that has it.

        Raises:
            BlobUnavailableError: none gave it; every answer is listed.
        """
        return self._first(cid, lambda store: store.get(cid, max_bytes=max_bytes))

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        """As `get`: whole before the first piece, because an unverified one could not be taken back."""
        yield self.get(cid, max_bytes=max_bytes)

    def fetch(self, cid: Cid, folder: BlobFolder, *, max_bytes: int) -> Path:
        """Path of the verified blob in `folder`, streamed into it when it was not there.

        Raises:
            BlobUnavailableError: no store gave it.
            QuotaExceededError: the folder is full.
        """
        try:
            return folder.path_of(cid, max_bytes=max_bytes)
        except CollegiumError as error:
            if isinstance(error, BlobOversizedError):
                raise

        def copy(store: Store) -> Path:
            folder.put_stream(store.stream(cid, max_bytes=max_bytes), expected=cid, max_bytes=max_bytes)
            return folder.path_of(cid, max_bytes=max_bytes)

        return self._first(cid, copy)

    def has(self, cid: Cid) -> bool:
        """Whether any store says it has the blob; those that do not answer count as no."""
        for store in self._order():
            try:
                if store.has(cid):
                    return True
            except CollegiumError as error:
                logger.debug("%s: %s", store.name, error)
        return False

    def _order(self) -> list[Store]:
        """Honest and answering stores first, in the order given."""
        with self._lock:
            liars, down, now = dict(self._liars), dict(self._down), time.monotonic()
        return sorted(self.stores, key=lambda store: (store.name in liars, down.get(store.name, 0.0) > now))

    def _first(self, cid: Cid, read: Callable[[Store], Result]) -> Result:
        answers: dict[str, CollegiumError] = {}
        for store in self._order():
            try:
                found = read(store)
                _count(store, "ok")
                return found
            except CollegiumError as error:
                _count(store, error.code)
                answers[store.name] = error
                if isinstance(error, CidMismatchError):
                    self._blame(store, error)
                elif isinstance(error, StoreUnreachableError):
                    with self._lock:
                        self._down[store.name] = time.monotonic() + DOWN_SECONDS
        raise _unavailable(f"No store gave blob {cid}", answers, self.liars, cid=cid.text)

    def _blame(self, store: Store, error: CollegiumError) -> None:
        with self._lock:
            self._liars.setdefault(store.name, error.message)
        metrics.count("ipfs_verify_failures_total")
        logger.warning("%s served wrong bytes: %s", store.name, error.message)


def _count(store: Store, result: str) -> None:
    metrics.count("ipfs_requests_total", op="get", backend=backend_of(store), result=result)


def _unavailable(
    what: str, answers: Mapping[str, CollegiumError], liars: Mapping[str, str] | Sequence[str], **evidence: str
) -> BlobUnavailableError:
    lines = "".join(f"\n- {name}: {error.message.replace(name, 'it')}" for name, error in answers.items())
    return BlobUnavailableError(
        f"{what}. Stores asked: {len(answers)}.{lines}\n",
        hint="Check that one of the stores runs and holds the blob, or add another store.",
        answers={name: error.message for name, error in answers.items()},
        codes={name: error.code for name, error in answers.items()},
        liars=[name for name in answers if name in liars],
        **evidence,
    )
