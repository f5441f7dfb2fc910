"""Handing signed messages to coordinators, who carry them in batches; a hospital that is not served carries itself."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collegium.chain import Intent
from collegium.egress import EgressLog, about, origin_of
from collegium.errors import CoordinatorUnreachableError
from collegium.observability.tracing import span
from collegium.transport.client import Transport
from collegium.transport.errors import CertificateError
from collegium.transport.failures import failure_of

if TYPE_CHECKING:
    import requests

__all__ = ["Couriers", "Errand"]

logger = logging.getLogger(__name__)

TIMEOUT = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 4.0
"""Seconds until a coordinator that did not take a message is asked again; doubled each time."""


@dataclass
class Errand:
    """One message on its way to the chain.

    topic: `updates`, `reveals`, `attestations` or `endorsements`. item: packed, one wire item. intent: the same
    carried by the hospital itself, None where one message alone is worth nothing.
    """

    topic: str
    study_id: int
    round: int
    item: bytes
    intent: Intent | None
    proposal: bytes = b""
    taken_by: set[str] = field(default_factory=set)
    asked_again: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By coordinator: when it is asked again (monotonic seconds), and the pause before that."""
    handed_at: float | None = None
    """Monotonic seconds of the first time a coordinator took it."""
    carried: bool = False


class Couriers:
    """The coordinators' intakes by address.

    egress: where a message is noted before it goes. transport: how they are reached and what they must prove.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        report: Callable[..., None] | None = None,
        egress: EgressLog | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._urls = tuple(urls)
        self._egress = egress
        self._transport = transport or Transport()
        self._sessions: dict[str, requests.Session] = {}
        self._report = report or (lambda *_, **__: None)

    def _session(self, url: str) -> requests.Session:
        if url not in self._sessions:
            self._sessions[url] = self._transport.session(url)
        return self._sessions[url]

    def hand(self, errand: Errand) -> bool:
        """Offer the message to every coordinator that has not taken it; true when any has it now."""
        for url in self._urls:
            when, pause = errand.asked_again.get(url, (0.0, FIRST_PAUSE))
            if url in errand.taken_by or when > time.monotonic():
                continue
            try:
                refusal = self._post(url, errand)
            except CoordinatorUnreachableError as error:
                refusal = error.message
            if refusal:
                errand.asked_again[url] = (time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE))
                self._report("not_taken", topic=errand.topic, round=errand.round, coordinator=url, reason=refusal)
                continue
            errand.taken_by.add(url)
            if errand.handed_at is None:
                errand.handed_at = time.monotonic()
        return bool(errand.taken_by)

    def _post(self, url: str, errand: Errand) -> str:
        """Empty when it was taken, else why not."""
        import requests

        body: dict[str, Any] = {"study": errand.study_id, "round": errand.round, "item": errand.item.hex()}
        if errand.proposal:
            body["proposal"] = errand.proposal.hex()
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        if self._egress is not None:
            with about(errand.study_id, errand.round):
                self._egress.record("message", origin_of(url), data, topic=errand.topic)
        try:
            with span(f"hand {errand.topic}"):
                session = self._session(url)
                answer = session.post(f"{url}/v1/{errand.topic}", data=data, headers=headers, timeout=TIMEOUT)
        except (requests.RequestException, CertificateError) as error:
            known = error if isinstance(error, CertificateError) else failure_of(error)
            raise CoordinatorUnreachableError(
                known.message if known else f"The coordinator {url} does not answer ({type(error).__name__}).",
                hint="The client carries the message itself before the deadline.",
            ) from error
        if answer.status_code == 202:
            return ""
        try:
            reason = str(answer.json().get("message", ""))[:300]
        except (ValueError, AttributeError):
            reason = ""
        return reason or f"HTTP {answer.status_code}"

    def attestations(self, study_id: int, round: int) -> list[bytes]:
        """Packed attestations of other members that coordinators share, one per seat; empty when none do."""
        import requests

        found: dict[int, bytes] = {}
        for url in self._urls:
            if self._egress is not None:
                self._egress.contact(url)
            try:
                where = {"study": study_id, "round": round}
                answer = self._session(url).get(f"{url}/v1/attestations", params=where, timeout=TIMEOUT)
                items = answer.json().get("items", []) if answer.status_code == 200 else []
                for text in items:
                    item = bytes.fromhex(str(text))
                    if len(item) == 81:
                        found.setdefault(item[0], item)
            except (requests.RequestException, CertificateError, ValueError, AttributeError) as error:
                logger.debug("%s: %s", url, error)
        return [found[index] for index in sorted(found)]
