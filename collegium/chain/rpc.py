"""One JSON-RPC endpoint over HTTP: timeouts, retries with backoff, and the chain it must be."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from collegium.egress import EgressLog
from collegium.errors import ChainIdMismatchError, ChainUnreachableError, CollegiumError
from collegium.observability import metrics
from collegium.transport.proxies import Proxies

__all__ = ["DEVNET_CHAIN_ID", "Header", "Rpc", "RpcError", "to_int"]

DEVNET_CHAIN_ID = 31337
TIMEOUT = 30.0
RETRY_FOR = 10.0
BATCH = 100


class RpcError(CollegiumError):
    """The node answered with a JSON-RPC error. Evidence: rpc_code, data (revert bytes or None), method."""

    code = "rpc_error"
    exit_code = 5


@dataclass(frozen=True, slots=True)
class Header:
    """What the client needs of a block header. timestamp: unix seconds; base_fee: wei, None before London."""

    number: int
    hash: bytes
    parent: bytes
    timestamp: int
    base_fee: int | None


def to_int(value: str | int) -> int:
    """A JSON-RPC quantity."""
    return value if isinstance(value, int) else int(value, 16)


def to_header(block: dict[str, Any]) -> Header:
    fee = block.get("baseFeePerGas")
    return Header(
        number=to_int(block["number"]),
        hash=bytes.fromhex(block["hash"][2:]),
        parent=bytes.fromhex(block["parentHash"][2:]),
        timestamp=to_int(block["timestamp"]),
        base_fee=None if fee is None else to_int(fee),
    )


class Rpc:
    """Thread-safe. A call that gets no answer is repeated for `retry_for` seconds, then ChainUnreachableError.

    egress: where the host is noted before it is asked. proxies: how it is reached.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        retry_for: float = RETRY_FOR,
        egress: EgressLog | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        from web3 import HTTPProvider

        self.url = url
        self.retry_for = retry_for
        self._egress = egress
        self._proxies = proxies or Proxies()
        options = {"timeout": timeout, "proxies": self._proxies.mapping(url)}
        self._provider = HTTPProvider(url, request_kwargs=options, exception_retry_configuration=None)

    def request(self, method: str, *params: Any) -> Any:
        """Result of one call as JSON. Raises RpcError or ChainUnreachableError."""
        with _measured(method):
            answer = self._until_answered(lambda: self._provider.make_request(method, list(params)))
            return self._result(method, answer)

    def batch(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any]:
        """Results of many calls of one method, in order, a hundred per request."""
        results: list[Any] = []
        for at in range(0, len(parameters), BATCH):
            calls = [(method, list(params)) for params in parameters[at : at + BATCH]]
            with _measured(method):
                answers = self._until_answered(lambda calls=calls: self._provider.make_batch_request(calls))
                if not isinstance(answers, list):
                    raise self._error(method, answers.get("error") or {})
                results += [self._result(method, answer) for answer in answers]
        return results

    def check_chain(self, chain_id: int) -> None:
        """Raises ChainIdMismatchError unless the endpoint serves this chain."""
        actual = to_int(self.request("eth_chainId"))
        if actual != chain_id:
            raise ChainIdMismatchError(
                f"{self.url} serves chain {actual}, not {chain_id}.",
                hint="Set network.rpc_url or network.chain_id so that they belong together (`collegium config show`).",
                actual=actual,
                expected=chain_id,
            )

    def header(self, block: int | str) -> Header | None:
        """Header of a block number or tag; None when the node has none."""
        found = self.request("eth_getBlockByNumber", block if isinstance(block, str) else hex(block), False)
        return None if found is None else to_header(found)

    def head(self, confirmations: int | None = 0) -> Header | None:
        """The newest block to act on.

        confirmations: blocks that must lie on top of it; None asks the network for its finalized block.
        Returns None while the chain is too short for that.
        """
        if confirmations is None:
            return self.header("finalized")
        latest = self.header("latest")
        if confirmations == 0 or latest is None:
            return latest
        number = latest.number - confirmations
        return None if number < 0 else self.header(number)

    def _until_answered(self, call: Any) -> Any:
        from requests.exceptions import HTTPError, RequestException

        if self._egress is not None:
            self._egress.contact(self.url)
        give_up = time.monotonic() + self.retry_for
        pause = 0.1
        while True:
            try:
                answer = call()
                # A gateway that throttles may say so inside a good HTTP answer.
                code = (answer.get("error") or {}).get("code") if isinstance(answer, dict) else None
                if code not in (429, -32005):
                    return answer
                reason: object = answer["error"].get("message")
            except HTTPError as error:
                if blamed := self._proxies.explain(error, self.url):
                    raise blamed from error
                status = error.response.status_code if error.response is not None else 0
                if 400 <= status < 500 and status not in (408, 425, 429):
                    raise ChainUnreachableError(
                        f"{self.url} refused the request with HTTP {status}.",
                        hint="Check network.rpc_url and what access key it needs.",
                        url=self.url,
                    ) from error
                reason = error
            except (RequestException, OSError, ValueError) as error:
                reason = error
            if time.monotonic() + pause > give_up:
                if isinstance(reason, Exception) and (blamed := self._proxies.explain(reason, self.url)):
                    raise blamed from reason
                raise ChainUnreachableError(
                    f"The chain node at {self.url} does not answer ({type(reason).__name__}).",
                    hint="Check that it runs and network.rpc_url; then repeat the command, nothing is lost.",
                    url=self.url,
                ) from (reason if isinstance(reason, BaseException) else None)
            time.sleep(pause * random.uniform(0.75, 1.0))
            pause = min(2 * pause, 2.0)

    def _result(self, method: str, answer: dict[str, Any]) -> Any:
        if answer.get("error"):
            raise self._error(method, answer["error"])
        return answer.get("result")

    def _error(self, method: str, error: Any) -> RpcError:
        if not isinstance(error, dict):
            error = {"message": str(error)}
        message = str(error.get("message", "no reason given"))
        return RpcError(
            f"{method}: {message}.",
            hint="The node refused the call; see its log if the reason is not clear.",
            rpc_code=error.get("code"),
            reason=message,
            data=_revert_data(error.get("data")),
            method=method,
        )


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


def _revert_data(data: Any) -> bytes | None:
    """Revert bytes, which nodes wrap in different ways."""
    if isinstance(data, dict):
        data = data.get("data") or data.get("result")
        if isinstance(data, dict):
            data = data.get("data")
    if isinstance(data, str):
        text = data[data.index("0x") :] if "0x" in data else ""
        try:
            return bytes.fromhex(text[2:]) if text else None
        except ValueError:
            return None
    return None
