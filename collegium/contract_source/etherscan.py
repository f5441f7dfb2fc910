"""Etherscan, API v2: one address for all chains, a key, tickets called guid; results are English sentences."""

from __future__ import annotations

import time
from typing import Any

from collegium.words import printable

from .bytecode import Match
from .errors import ExplorerKeyError
from .explorer import Refused, Submitted, Verified, Waiting
from .release import Release
from .targets import Target
from .web import Answer, Web

__all__ = ["DEFAULT", "PAGES", "Etherscan"]

DEFAULT = "https://api.etherscan.io/v2/api"
PAGES = {1: "https://etherscan.io", 11155111: "https://sepolia.etherscan.io", 17000: "https://holesky.etherscan.io"}
APACHE = "12"
SPACING = 0.4
"""Seconds between calls: a free key may make three a second."""


class Etherscan:
    """base: the one endpoint. key: travels in the form of a submission and in the query of a question, as it must."""

    name = "etherscan"

    def __init__(self, web: Web, release: Release, key: str, *, spacing: float = SPACING) -> None:
        self.base = web.base
        self._web, self._release, self._key, self._spacing = web, release, key, spacing
        self._next = 0.0

    def find(self, target: Target) -> Verified | None:
        answer = self._ask(target, action="getsourcecode", address=target.address)
        entries = answer.content.get("result")
        entry = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
        if not entry.get("SourceCode"):
            return None
        return Verified(already=True, note=_other_name(str(entry.get("ContractName") or ""), target))

    def submit(self, target: Target, source: str) -> Submitted | Verified | Refused:
        self._wait()
        arguments = target.encoded.hex()
        answer = self._web.post(
            "",
            params={"chainid": str(target.chain_id)},
            data={
                "apikey": self._key,
                "module": "contract",
                "action": "verifysourcecode",
                "chainid": str(target.chain_id),
                "codeformat": "solidity-standard-json-input",
                "sourceCode": source,
                "contractaddress": target.address,
                "contractname": target.released.identifier,
                "compilerversion": f"v{self._release.compiler}",
                "licenseType": APACHE,
                # Tools send the historic misspelling, the documentation names the right one.
                "constructorArguements": arguments,
                "constructorArguments": arguments,
            },
            busy=_is_busy,
        )
        said = self._result(answer)
        if answer.text("status") == "1":
            return Submitted(said)
        if "already verified" in said.lower():
            return Verified(already=True)
        return Refused(said or f"HTTP {answer.status}", again="unable to locate contractcode" in said.lower())

    def poll(self, target: Target, ticket: str) -> Verified | Waiting | Refused:
        if not ticket:
            return self.find(target) or Refused("it does not know of a submission", again=True)
        said = self._result(self._ask(target, action="checkverifystatus", guid=ticket))
        low = said.lower()
        if low.startswith("pass") or "already verified" in low:
            return Verified(Match.NONE, already="already" in low)
        if "pending" in low or "in progress" in low:
            return Waiting()
        return Refused(said or "no reason given", again="guid" in low)

    def page(self, target: Target) -> str:
        pages = PAGES.get(target.chain_id)
        return f"{pages}/address/{target.address}#code" if pages else ""

    def _ask(self, target: Target, **parameters: str) -> Answer:
        self._wait()
        query = {"chainid": str(target.chain_id), "module": "contract", **parameters, "apikey": self._key}
        answer = self._web.get("", params=query, busy=_is_busy)
        self._result(answer)
        return answer

    def _result(self, answer: Answer) -> str:
        """The sentence. Raises ExplorerKeyError when it is about the key."""
        result: Any = answer.content.get("result")
        said = printable(result, 500).replace(self._key, "(key)") if isinstance(result, str) else ""
        if "api key" in said.lower() and "rate limit" not in said.lower():
            raise ExplorerKeyError(
                f"{self.base} does not take the API key: {said}",
                hint="Check --api-key-file or ETHERSCAN_API_KEY.",
            )
        return said

    def _wait(self) -> None:
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._spacing


def _is_busy(answer: Answer) -> bool:
    """Rate limits come with status 200."""
    said = str(answer.content.get("result") or "").lower()
    return answer.status in (429, 502, 503, 504) or "rate limit" in said or "max calls per sec" in said


def _other_name(name: str, target: Target) -> str:
    return f"it is published there as {printable(name, 100)}" if name and name != target.name else ""
