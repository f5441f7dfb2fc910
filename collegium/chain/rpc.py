"""JSON-RPC endpoints over HTTP: retries, failover, and the chain they must be."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from collegium.egress import EgressLog
from collegium.errors import (
    ChainDisagreementError,
    ChainIdMismatchError,
    ChainUnreachableError,
    CollegiumError,
    ConfigError,
)
from collegium.observability import metrics
from collegium.transport.proxies import Proxies

from .endpoint import Endpoint, NoAnswer, shown_url
from .windows import LOG_WINDOW, LogWindow
from .wire import Header, RpcError, to_error, to_header, to_int

__all__ = ["DEVNET_CHAIN_ID", "EndpointHealth", "Header", "Rpc", "RpcError", "split_urls", "to_header", "to_int"]

logger = logging.getLogger(__name__)

DEVNET_CHAIN_ID = 31337
TIMEOUT = 30.0
RETRY_FOR = 10.0
BATCH = 100
FAR_BEHIND = 3
"""Blocks by which a healthy node may differ from the newest."""


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """How an endpoint is now. head: its newest block, None when it does not answer; problem: empty when all is well."""

    name: str
    head: int | None
    problem: str


def split_urls(urls: str | Sequence[str]) -> list[str]:
    """Each URL once, in order.

    Raises:
        ConfigError: there is none, or one is not http or https.
    """
    listed = urls.split(",") if isinstance(urls, str) else urls
    found = list(dict.fromkeys(url.strip() for url in listed if url.strip()))
    if not found:
        raise ConfigError("No chain node is named.", hint="Set network.rpc_url.")
    for url in found:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigError(
                f"{shown_url(url)!r} is no address of a chain node.", hint="Write it like https://node.example:8545."
            )
    return found


class Rpc:
    """One or several JSON-RPC endpoints of one chain, asked as one. Thread-safe.

    The first that answers is asked; when it fails, throttles or falls behind, the next one is, and the first again
    once it has recovered. One that takes over must be of the same chain, told by chain id and genesis block, and must
    have the newest block that was acted on: nobody is taken back in time. A call that gets no answer from anybody is
    repeated for `retry_for` seconds, then ChainUnreachableError.

    urls: one, several, or several in one text with commas between. rate: calls per second to each, 0 for no limit.
    log_window: blocks per question for logs, at most. quorum: how many must agree on the block to act on. egress:
    where each host is noted before it is asked. proxies: how they are reached.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        timeout: float = TIMEOUT,
        retry_for: float = RETRY_FOR,
        rate: float = 0.0,
        log_window: int = LOG_WINDOW,
        quorum: int = 1,
        egress: EgressLog | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        found = split_urls(urls)
        if not 1 <= quorum <= len(found):
            raise ConfigError(
                f"A quorum of {quorum} cannot come from {len(found)} endpoints.",
                hint="Name more endpoints in network.rpc_url, or lower network.quorum.",
            )
        self.retry_for = retry_for
        self._rate = rate
        self._quorum = quorum
        self._endpoints = [
            Endpoint(
                url, timeout=timeout, rate=rate, log_window=log_window, egress=egress, proxies=proxies or Proxies()
            )
            for url in found
        ]
        self._current = self._endpoints[0]
        self._chain_id: int | None = None
        self._genesis: str | None = None
        self._floor = -1

    @property
    def url(self) -> str:
        """Of the endpoint that is asked now."""
        return self._current.url

    @property
    def name(self) -> str:
        """All endpoints, for people: without passwords and access keys."""
        return ", ".join(endpoint.name for endpoint in self._endpoints)

    @property
    def log_window(self) -> LogWindow:
        """Of the endpoint that is asked now."""
        return self._current.window

    def request(self, method: str, *params: Any) -> Any:
        """Result of one call as JSON. Raises RpcError or ChainUnreachableError."""
        with _measured(method):
            answer = self._until_answered(lambda provider: provider.make_request(method, list(params)))
            return self._result(method, answer)

    def batch(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any]:
        """Results of many calls of one method, in order, at most a hundred per request."""
        results: list[Any] = []
        size = max(1, min(BATCH, int(self._rate))) if self._rate > 0 else BATCH
        for at in range(0, len(parameters), size):
            calls = [(method, list(params)) for params in parameters[at : at + size]]
            with _measured(method):
                answers = self._until_answered(lambda provider: provider.make_batch_request(calls), len(calls))  # noqa: B023
                if not isinstance(answers, list):
                    raise to_error(method, answers.get("error") or {})
                results += [self._result(method, answer) for answer in answers]
        return results

    def check_chain(self, chain_id: int) -> None:
        """Every endpoint that answers must serve this chain; those that do not are checked before they are used.

        Raises:
            ChainIdMismatchError: one serves another chain. ChainUnreachableError: none answers.
        """
        self._chain_id = chain_id
        self._until_answered(lambda provider: None)
        for endpoint in self._endpoints:
            if endpoint is not self._current and endpoint.foreign is None:
                try:
                    self._identify(endpoint)
                except NoAnswer as failure:
                    logger.warning("%s; it is asked when it is needed", failure.reason)
            if endpoint.foreign is not None:
                raise endpoint.foreign

    def survey(self) -> list[EndpointHealth]:
        """Ask every endpoint once."""
        found = []
        for endpoint in self._endpoints:
            try:
                self._identify(endpoint)
                header = self._ask_header(endpoint, "latest")
                found.append(EndpointHealth(endpoint.name, None if header is None else header.number, ""))
            except NoAnswer as failure:
                found.append(EndpointHealth(endpoint.name, None, failure.reason))
            except ChainIdMismatchError as error:
                found.append(EndpointHealth(endpoint.name, None, error.message))
        newest = max((each.head for each in found if each.head is not None), default=0)
        return [
            replace(each, problem=f"{each.name} is {newest - each.head} blocks behind")
            if each.head is not None and newest - each.head > FAR_BEHIND
            else each
            for each in found
        ]

    def header(self, block: int | str) -> Header | None:
        """Header of a block number or tag; None when the node has none."""
        found = self.request("eth_getBlockByNumber", block if isinstance(block, str) else hex(block), False)
        return None if found is None else to_header(found)

    def head(self, confirmations: int | None = 0) -> Header | None:
        """The newest block to act on, that a quorum has.

        confirmations: blocks that must lie on top of it; None asks the network for its finalized block.
        Returns None while the chain is too short for that.

        Raises:
            ChainDisagreementError: fewer than the quorum have the same block.
        """
        found = self._find_head(confirmations)
        if found is not None and self._quorum > 1:
            found = self._agreed(found, confirmations)
        if found is not None:
            self._floor = max(self._floor, found.number)
        return found

    def _find_head(self, confirmations: int | None) -> Header | None:
        if confirmations is None:
            return self.header("finalized")
        latest = self.header("latest")
        if confirmations == 0 or latest is None:
            return latest
        number = latest.number - confirmations
        return None if number < 0 else self.header(number)

    def _agreed(self, mine: Header, confirmations: int | None) -> Header | None:
        """The newest header that a quorum of endpoints has, this one among them."""
        tag = "finalized" if confirmations is None else "latest"
        newest: dict[Endpoint, int] = {}
        for endpoint in self._endpoints:
            if endpoint is self._current or endpoint.foreign is not None:
                continue
            with contextlib.suppress(NoAnswer, CollegiumError):
                self._identify(endpoint)
                if (theirs := self._ask_header(endpoint, tag)) is not None:
                    newest[endpoint] = theirs.number - (confirmations or 0)
        numbers = sorted([mine.number, *newest.values()], reverse=True)
        if len(numbers) < self._quorum:
            raise ChainUnreachableError(
                f"{len(numbers)} of {len(self._endpoints)} chain nodes answer; {self._quorum} must agree on a block.",
                hint="Check network.rpc_url, or lower network.quorum; nothing is lost.",
            )
        number = min(mine.number, numbers[self._quorum - 1])
        agreed = mine if number == mine.number else self.header(number) if number >= 0 else None
        if agreed is None:
            return None
        same, others = 1, []
        for endpoint, reached in newest.items():
            with contextlib.suppress(NoAnswer):
                theirs = self._ask_header(endpoint, hex(number)) if reached >= number else None
                same += theirs is not None and theirs.hash == agreed.hash
                others += [endpoint.name] if theirs is not None and theirs.hash != agreed.hash else []
        if same < self._quorum:
            raise ChainDisagreementError(
                f"{self._current.name} has another block {number} than {', '.join(others) or 'the others'}.",
                hint="A reorganization settles in a moment; else one of the nodes lies or is on a fork.",
                block=number, hash=agreed.hash, others=others,
            )  # fmt: skip
        return agreed

    def _until_answered(self, call: Callable[[Any], Any], count: int = 1) -> Any:
        """One HTTP request to whoever answers it."""
        give_up = time.monotonic() + self.retry_for
        pause = 0.1
        tried: dict[Endpoint, NoAnswer] = {}
        while True:
            endpoint = self._choose(tried)
            try:
                if wait := endpoint.wait_left():
                    # Everybody left asked for patience: this one the least.
                    raise NoAnswer(f"{endpoint.name} asks to be left alone for {wait:.0f} s", wait=wait)
                self._admit(endpoint)
                return endpoint.send(call, count)
            except NoAnswer as failure:
                tried[endpoint] = failure
                if self._has_other(tried):
                    logger.info("%s; another endpoint is asked", failure.reason)
                    continue
                is_hopeless = all(each.is_final for each in tried.values())
                if is_hopeless or time.monotonic() + max(pause, failure.wait) > give_up:
                    raise self._gave_up(failure) from failure.cause
                time.sleep(max(pause * random.uniform(0.75, 1.0), failure.wait))
                pause = min(2 * pause, 2.0)
                tried.clear()

    def _choose(self, tried: Container[Endpoint]) -> Endpoint:
        """The first that did not fail lately; raises when every endpoint is of another chain."""
        usable = [each for each in self._endpoints if each.foreign is None]
        if not usable:
            foreign = self._endpoints[0].foreign
            assert foreign is not None
            raise foreign
        return min(
            (each for each in usable if each not in tried),
            key=lambda each: (each.wait_left(), each.is_avoided()),
            default=usable[0],
        )

    def _has_other(self, tried: Container[Endpoint]) -> bool:
        return any(each.foreign is None and each not in tried and not each.wait_left() for each in self._endpoints)

    def _admit(self, endpoint: Endpoint) -> None:
        """Let an endpoint answer: of this chain, and not behind what was acted on. Raises NoAnswer."""
        if self._chain_id is not None and not endpoint.is_identified:
            try:
                self._identify(endpoint)
            except ChainIdMismatchError as error:
                raise NoAnswer(error.message, meaning=error, is_final=True) from error
        if endpoint is self._current:
            return
        latest = self._ask_header(endpoint, "latest")
        if latest is None or latest.number < self._floor:
            number = "no block" if latest is None else f"block {latest.number}"
            raise endpoint.avoid(f"is behind: it has {number}, {self._floor} was acted on")
        logger.warning("chain node %s takes over from %s", endpoint.name, self._current.name)
        self._current = endpoint

    def _identify(self, endpoint: Endpoint) -> None:
        """Raises ChainIdMismatchError, and remembers it: the endpoint serves another chain. Raises NoAnswer."""
        if endpoint.is_identified or self._chain_id is None:
            return
        actual = to_int(self._ask_one(endpoint, "eth_chainId"))
        genesis = self._genesis
        if actual == self._chain_id and len(self._endpoints) > 1:
            block = self._ask_one(endpoint, "eth_getBlockByNumber", "0x0", False)
            # A node that has pruned its first block cannot tell; its newest blocks will.
            genesis = None if block is None else str(block["hash"])
            self._genesis = self._genesis or genesis
        if actual != self._chain_id or (genesis and genesis != self._genesis):
            what = f"chain {actual}, not {self._chain_id}"
            if actual == self._chain_id:
                what = f"another chain of id {actual}: its genesis block is not that of {self._endpoints[0].name}"
            endpoint.foreign = ChainIdMismatchError(
                f"{endpoint.name} serves {what}.",
                hint="Set network.rpc_url or network.chain_id so that they belong together (`collegium config show`).",
                actual=actual,
                expected=self._chain_id,
            )
            raise endpoint.foreign
        endpoint.is_identified = True

    def _ask_one(self, endpoint: Endpoint, method: str, *params: Any) -> Any:
        """One call to one endpoint, without retries. Raises NoAnswer."""
        answer = endpoint.send(lambda provider: provider.make_request(method, list(params)))
        if answer.get("error"):
            raise endpoint.avoid(f"refuses {method} ({to_error(method, answer['error']).reason})")
        return answer.get("result")

    def _ask_header(self, endpoint: Endpoint, block: str) -> Header | None:
        found = self._ask_one(endpoint, "eth_getBlockByNumber", block, False)
        return None if found is None else to_header(found)

    def _gave_up(self, failure: NoAnswer) -> CollegiumError:
        if failure.meaning is not None:
            return failure.meaning
        if len(self._endpoints) == 1:
            message = f"The chain node at {failure.reason}."
        else:
            message = f"None of {len(self._endpoints)} chain nodes answers; the last one: {failure.reason}."
        return ChainUnreachableError(
            message,
            hint="Check that it runs and network.rpc_url; then repeat the command, nothing is lost.",
            url=self.name,
        )

    def _result(self, method: str, answer: dict[str, Any]) -> Any:
        if answer.get("error"):
            raise to_error(method, answer["error"])
        return answer.get("result")


@contextmanager
def _measured(method: str) -> Iterator[None]:
    """Count a call by method and by what came of it: ok, or the code of the error."""
    started, code = time.monotonic(), "ok"
    try:
        yield
    except CollegiumError as error:
        code = str(error.evidence.get("rpc_code") or error.code)
        raise
    finally:
        metrics.count("rpc_requests_total", method=method, code=code)
        metrics.observe("rpc_duration_seconds", time.monotonic() - started)
