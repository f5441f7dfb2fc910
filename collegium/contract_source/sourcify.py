"""Sourcify, API v2: tickets, no key, says whether runtime and creation code match exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collegium.words import printable

from .bytecode import Match
from .explorer import Refused, Submitted, Verified, Waiting
from .release import Release
from .targets import Target
from .web import Answer, Web

__all__ = ["DEFAULT", "Sourcify"]

DEFAULT = "https://sourcify.dev/server"
REPOSITORY = "https://repo.sourcify.dev"
_MATCHES = {"exact_match": Match.EXACT, "match": Match.PARTIAL}


class Sourcify:
    """base: of the server, such as https://sourcify.dev/server."""

    name = "sourcify"

    def __init__(self, web: Web, release: Release) -> None:
        self.base = web.base
        self._web, self._release = web, release

    def find(self, target: Target) -> Verified | None:
        """Only an exact match is good enough: a weaker one can still become exact."""
        known = self._lookup(target)
        return known if known is not None and known.match is Match.EXACT else None

    def submit(self, target: Target, source: str) -> Submitted | Verified | Refused:
        import json

        body: dict[str, Any] = {
            "stdJsonInput": json.loads(source),
            "compilerVersion": self._release.compiler,
            "contractIdentifier": target.released.identifier,
        }
        if target.transaction:
            body["creationTransactionHash"] = target.transaction
        answer = self._web.post(f"/v2/verify/{target.chain_id}/{target.address}", json=body, busy=_is_busy)
        if answer.status == 202:
            return Submitted(answer.text("verificationId"))
        code = answer.text("customCode")
        if answer.status == 409 or code == "already_verified":
            return self._lookup(target) or Verified(Match.EXACT, already=True)
        # Somebody, perhaps an earlier run whose answer was lost, handed it in: the contract's page tells the rest.
        if code == "duplicate_verification_request":
            return Submitted("")
        return Refused(_reason(answer))

    def poll(self, target: Target, ticket: str) -> Verified | Waiting | Refused:
        if not ticket:
            return self._lookup(target) or Waiting()
        answer = self._web.get(f"/v2/verify/{ticket}")
        if answer.status == 404:
            return Refused("it no longer knows the ticket", again=True)
        if answer.status != 200:
            return Refused(_reason(answer))
        if not answer.content.get("isJobCompleted"):
            return Waiting()
        error = answer.content.get("error")
        if isinstance(error, Mapping):
            if error.get("customCode") == "already_verified":
                return self._lookup(target) or Verified(already=True)
            return Refused(printable(f"{error.get('customCode')}: {error.get('message')}", 500))
        contract = answer.content.get("contract")
        found = _verified(contract if isinstance(contract, Mapping) else {})
        return found or Refused("the job ended without a match")

    def page(self, target: Target) -> str:
        if self.base == DEFAULT:
            return f"{REPOSITORY}/{target.chain_id}/{target.address}"
        return f"{self.base}/v2/contract/{target.chain_id}/{target.address}?fields=all"

    def _lookup(self, target: Target) -> Verified | None:
        answer = self._web.get(f"/v2/contract/{target.chain_id}/{target.address}", params={"fields": "compilation"})
        if answer.status != 200:
            return None
        found = _verified(answer.content)
        if found is None:
            return None
        compilation = answer.content.get("compilation")
        name = compilation.get("fullyQualifiedName") if isinstance(compilation, Mapping) else None
        note = ""
        if name and name != target.released.identifier:
            note = f"it is published there as {printable(str(name), 200)}"
        return Verified(found.match, already=True, note=note)


def _verified(content: Mapping[str, Any]) -> Verified | None:
    """exact only when runtime and creation code both are, or the creation is not known."""
    runtime = _MATCHES.get(str(content.get("runtimeMatch") or content.get("match") or ""))
    creation = _MATCHES.get(str(content.get("creationMatch") or ""))
    if runtime is None and creation is None:
        return None
    exact = runtime is Match.EXACT and creation in (Match.EXACT, None)
    note = "" if creation is not None else "its creation code was not compared"
    return Verified(Match.EXACT if exact else Match.PARTIAL, note=note)


def _is_busy(answer: Answer) -> bool:
    return answer.status in (429, 502, 503, 504) and answer.text("customCode") != "duplicate_verification_request"


def _reason(answer: Answer) -> str:
    said = ": ".join(each for each in (answer.text("customCode"), answer.text("message")) if each)
    return f"HTTP {answer.status} {said}".strip()
