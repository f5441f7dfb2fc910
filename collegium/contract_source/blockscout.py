"""Blockscout, API v2: no key, no ticket; the address tells when it is done, and nothing tells why it was not."""

from __future__ import annotations

from collegium.words import printable

from .bytecode import Match
from .explorer import Refused, Submitted, Verified, Waiting
from .release import Release
from .targets import Target
from .web import Answer, Web

__all__ = ["INSTANCES", "Blockscout"]

INSTANCES = {1: "https://eth.blockscout.com", 11155111: "https://eth-sepolia.blockscout.com"}
"""Well-known instances by chain id."""


class Blockscout:
    """base: of the instance, such as https://eth-sepolia.blockscout.com."""

    name = "blockscout"

    def __init__(self, web: Web, release: Release) -> None:
        self.base = web.base
        self._web, self._release = web, release

    def find(self, target: Target) -> Verified | None:
        """A full match of our contract; a partial one can still become full."""
        known = self._lookup(target)
        return known if known is not None and known.match is Match.EXACT else None

    def submit(self, target: Target, source: str) -> Submitted | Verified | Refused:
        answer = self._web.post(
            f"/api/v2/smart-contracts/{target.address}/verification/via/standard-input",
            data={
                "compiler_version": f"v{self._release.compiler}",
                "contract_name": target.name,
                "autodetect_constructor_args": "false",
                "constructor_args": target.encoded.hex(),
                "license_type": "apache_2_0",
            },
            files={"files[0]": (f"{target.name}.json", source.encode(), "application/json")},
        )
        said = answer.text("message")
        # Already verified comes with status 200 as well as with 409, depending on the version.
        if "already verified" in said.lower():
            return self._lookup(target) or Verified(already=True)
        if answer.status == 200 and "started" in said.lower():
            return Submitted("")
        if answer.status == 404 or "not a smart" in said.lower():
            return Refused(_reason(answer) + ": it has not seen this contract yet", again=True)
        return Refused(_reason(answer))

    def poll(self, target: Target, ticket: str) -> Verified | Waiting | Refused:
        """Its API tells success only; a refusal shows on the contract's page, and here as a timeout."""
        return self._lookup(target) or Waiting()

    def page(self, target: Target) -> str:
        return f"{self.base}/address/{target.address}?tab=contract"

    def _lookup(self, target: Target) -> Verified | None:
        answer = self._web.get(f"/api/v2/smart-contracts/{target.address}")
        if answer.status != 200 or not answer.content.get("is_verified"):
            return None
        # Verified like some other contract with the same code, until somebody hands in this one's source.
        if answer.content.get("verified_twin_address_hash") and not answer.content.get("is_fully_verified"):
            return None
        name = str(answer.content.get("name") or "")
        note = f"it is published there as {printable(name, 100)}" if name and name != target.name else ""
        exact = bool(answer.content.get("is_fully_verified"))
        return Verified(Match.EXACT if exact else Match.PARTIAL, already=True, note=note)


def _reason(answer: Answer) -> str:
    errors = printable(str(answer.content.get("errors") or ""), 300)
    return " ".join(each for each in (f"HTTP {answer.status}", answer.text("message"), errors) if each)
