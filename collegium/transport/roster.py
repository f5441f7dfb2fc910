"""Which node keys count now: for a coordinator from its index of events, for a hospital by asking the chain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collegium.records import ZERO_ADDRESS, Role

from .errors import PeerRefusedError

if TYPE_CHECKING:
    from collegium.chain import Chain
    from collegium.chain.indexer import Indexer
    from collegium.chain.views import StudyView

__all__ = ["EnlistedServers", "StudyRoster"]

TRUSTED_SECONDS = 60.0
"""How long a server that was found on the chain is not looked up again."""


@dataclass(frozen=True)
class _Keys:
    """institution: by current node key. current: node key by institution, also for those without one (zero)."""

    institution: dict[str, str]
    current: dict[str, str]
    owner: dict[str, str]
    suspended: frozenset[str]


class StudyRoster:
    """Thread-safe. Strangers cost no call to a node: everything is in the index.

    view: the study as last read.
    """

    def __init__(self, indexer: Indexer, view: Callable[[], StudyView]) -> None:
        self._indexer = indexer
        self._view = view
        self._lock = threading.Lock()
        self._known: tuple[tuple[int, int], _Keys] | None = None

    def require(self, node: str) -> None:
        """Raises PeerRefusedError: not, or no longer, the node key of a member or aggregator, and why."""
        view = self._view()
        keys = self._keys()
        institution = keys.institution.get(node)
        if institution is None:
            raise _explain_unknown(node, keys)
        if institution in keys.suspended:
            raise PeerRefusedError(
                f"{institution}, for which node key {node} speaks, is suspended.", hint="Ask the council.", node=node
            )
        if institution not in _institutions(view):
            raise PeerRefusedError(
                f"{institution}, for which node key {node} speaks, is not in the roster of study {view.study_id}.",
                hint=f"Run `collegium join {view.study_id}` first, or ask a coordinator of your study.",
                node=node,
            )

    def _keys(self) -> _Keys:
        with self._lock:
            # Keys belong to no study: only the index tells when one changed.
            at = (self._indexer.generation, self._indexer.head)
            if self._known is None or self._known[0] != at:
                self._known = at, self._read()
            return self._known[1]

    def _read(self) -> _Keys:
        current: dict[str, str] = {}
        owner: dict[str, str] = {}
        suspended: set[str] = set()
        names = ("NodeKeyRegistered", "NodeKeyRevoked", "InstitutionSuspended")
        for event in self._indexer.events(name=names):
            institution = event.args["institution"]
            if event.name == "InstitutionSuspended":
                (suspended.add if event.args["suspended"] else suspended.discard)(institution)
                continue
            node = event.args["nodeKey"]
            owner[node] = institution
            if event.name == "NodeKeyRegistered":
                current[institution] = node
            elif current.get(institution) == node:
                current[institution] = ZERO_ADDRESS
        return _Keys({key: name for name, key in current.items()}, current, owner, frozenset(suspended))


def _institutions(view: StudyView) -> set[str]:
    found = {seat.institution for seat in view.seats.values() if seat.left is None} | set(view.aggregators)
    # Who leaves still has a round to end.
    if view.current is not None and not view.current.is_over:
        found |= set(view.current.snapshot.institutions)
    return found


def _explain_unknown(node: str, keys: _Keys) -> PeerRefusedError:
    institution = keys.owner.get(node)
    if institution is None:
        return PeerRefusedError(
            f"Node key {node} belongs to no institution that was admitted here.",
            hint="Run `collegium institution register`, or check the chain and contract in your settings.",
            node=node,
        )
    successor = keys.current.get(institution, ZERO_ADDRESS)
    if successor == ZERO_ADDRESS:
        return PeerRefusedError(
            f"Node key {node} of {institution} was revoked.", hint="Run `collegium keys rotate`.", node=node
        )
    return PeerRefusedError(
        f"Node key {node} of {institution} was replaced by {successor}.",
        hint="Make a certificate for the new key: `collegium tls new`.",
        node=node,
    )


class EnlistedServers:
    """Whether a server's node key is that of an aggregator enlisted in a study. Thread-safe.

    chain: connects when first needed.
    """

    def __init__(self, chain: Callable[[], Chain]) -> None:
        self._chain = chain
        self._lock = threading.Lock()
        self._trusted: dict[str, float] = {}

    def require(self, node: str) -> None:
        """Raises PeerRefusedError, and what reading the chain raises."""
        with self._lock:
            if time.monotonic() - self._trusted.get(node, -TRUSTED_SECONDS) < TRUSTED_SECONDS:
                return
            why = self._why_not(node)
            if why:
                raise PeerRefusedError(
                    f"The server's certificate is bound to node key {node}, which {why}.",
                    hint="Check the address, or pin the key you expect under [coordinators.pins].",
                    node=node,
                )
            self._trusted[node] = time.monotonic()

    def _why_not(self, node: str) -> str:
        from collegium.chain import Contracts

        contracts = Contracts(self._chain())
        if contracts.is_revoked(node):
            return "was revoked"
        institution = contracts.institution(node)
        if institution == ZERO_ADDRESS:
            return "belongs to no institution of this federation"
        if not contracts.is_active(institution):
            return f"speaks for {institution}, which is suspended"
        locks = (contracts.lock(study, institution, Role.AGGREGATOR) for study in range(1, contracts.study_count() + 1))
        if any(lock.amount > 0 and lock.releasable_at == 0 for lock in locks):
            return ""
        return f"speaks for {institution}, which is an aggregator of no study"
