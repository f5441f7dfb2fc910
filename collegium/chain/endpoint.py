"""One JSON-RPC endpoint: how it is asked, how often, and what its silence or refusal means."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from collegium.egress import EgressLog
from collegium.errors import ChainUnreachableError, CollegiumError
from collegium.transport.proxies import Proxies

from .windows import LogWindow, is_range_error, is_throttle_message

__all__ = ["Endpoint", "NoAnswer", "shown_url"]

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
LONGEST_WAIT = 3600.0
AVOID = (2.0, 120.0)
"""Seconds that an endpoint is asked after the others: at its first failure, and at most."""
_THROTTLED = (429, -32005)
_SERVER_ERRORS = (-32000, -32007, -32016, -32029, -32097)
_TRANSIENT = (408, 425, 429)


class NoAnswer(Exception):
    """This endpoint gave no usable answer; another one, or the same one later, may.

    wait: seconds it asked for. meaning: the error to raise when nobody else answers. is_final: asking again is no use.
    """

    def __init__(
        self,
        reason: str,
        *,
        wait: float = 0.0,
        cause: Exception | None = None,
        meaning: CollegiumError | None = None,
        is_final: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.cause = cause
        self.meaning = meaning
        self.is_final = is_final


class Endpoint:
    """Thread-safe.

    rate: calls per second it may be sent, 0 for no limit. log_window: blocks per question for logs, at most.
    egress: where the host is noted before it is asked. proxies: how it is reached.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        rate: float = 0.0,
        log_window: int,
        egress: EgressLog | None = None,
        proxies: Proxies,
    ) -> None:
        from web3 import HTTPProvider

        self.url = url
        self.name = shown_url(url)
        self.window = LogWindow(log_window)
        self.is_identified = False
        self.foreign: CollegiumError | None = None
        """Why it is not of this chain and never asked again."""
        self._rate = rate
        self._egress = egress
        self._proxies = proxies
        options = {"timeout": (min(CONNECT_SECONDS, timeout), timeout), "proxies": proxies.mapping(url)}
        self._provider = HTTPProvider(url, request_kwargs=options, exception_retry_configuration=None)
        self._lock = threading.Lock()
        self._failures = 0
        self._avoid_until = self._wait_until = 0.0
        self._next_slot = 0.0

    def wait_left(self) -> float:
        """Seconds it asked not to be asked."""
        return max(0.0, self._wait_until - time.monotonic())

    def is_avoided(self) -> bool:
        """Whether it failed lately: others are asked first."""
        return self._avoid_until > time.monotonic()

    def send(self, call: Callable[[Any], Any], count: int = 1) -> Any:
        """The JSON answer of one HTTP request that holds `count` calls.

        Raises:
            NoAnswer: with the reason, which is remembered for the next choice.
        """
        self._take_slots(count)
        if self._egress is not None:
            self._egress.contact(self.url)
        try:
            answer = self._send(call)
        except NoAnswer as failure:
            self._remember(failure)
            raise
        with self._lock:
            self._failures, self._avoid_until = 0, 0.0
        return answer

    def avoid(self, reason: str) -> NoAnswer:
        """It is not to be asked for a while, for a reason that its caller found."""
        failure = NoAnswer(f"{self.name} {reason}")
        self._remember(failure)
        return failure

    def _take_slots(self, count: int) -> None:
        """Wait until the rate allows `count` more calls."""
        if self._rate <= 0:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next_slot)
            self._next_slot = start + count / self._rate
        time.sleep(start - now)

    def _send(self, call: Callable[[Any], Any]) -> Any:
        from requests.exceptions import HTTPError, RequestException

        try:
            answer = call(self._provider)
        except HTTPError as error:
            answer = self._read_refusal(error)
        except (RequestException, OSError, ValueError) as error:
            blamed = self._proxies.explain(error, self.url)
            reason = f"{self.name} does not answer ({type(error).__name__})"
            raise NoAnswer(reason, cause=error, meaning=blamed) from error
        # A gateway that throttles may say so inside a good HTTP answer.
        for each in answer if isinstance(answer, list) else [answer]:
            if isinstance(each, dict) and (said := _throttle(each.get("error"))):
                raise NoAnswer(f"{self.name} limits how often it is asked ({said})")
        return answer

    def _read_refusal(self, error: Any) -> Any:
        """What an HTTP error means; some providers send JSON-RPC errors with one."""
        response = error.response
        status = response.status_code if response is not None else 0
        if blamed := self._proxies.explain(error, self.url):
            raise NoAnswer(blamed.message, cause=error, meaning=blamed, is_final=True) from error
        if 400 <= status < 500 and status not in _TRANSIENT:
            try:
                answer = response.json()
            except ValueError:
                answer = None
            if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
                return answer
            refused = ChainUnreachableError(
                f"{self.name} refused the request with HTTP {status}.",
                hint="Check network.rpc_url and what access key it needs.",
                url=self.name,
            )
            raise NoAnswer(refused.message, cause=error, meaning=refused, is_final=True) from error
        wait = _retry_after(response.headers.get("Retry-After", "")) if response is not None else 0.0
        said = "limits how often it is asked" if status == 429 else "does not answer"
        raise NoAnswer(f"{self.name} {said} (HTTP {status})", wait=wait, cause=error) from error

    def _remember(self, failure: NoAnswer) -> None:
        first, longest = AVOID
        with self._lock:
            pause = min(longest, first * 2**self._failures) * random.uniform(0.75, 1.0)
            self._failures = min(self._failures + 1, 10)
            now = time.monotonic()
            self._avoid_until = now + max(pause, failure.wait)
            self._wait_until = max(self._wait_until, now + failure.wait)
        logger.debug("%s", failure.reason)


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: password, path and query hold access keys."""
    parts = urlsplit(url)
    more = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{more}"


def _throttle(error: Any) -> str:
    """What a JSON-RPC error says about asking too often; empty when it is about something else."""
    if not isinstance(error, dict):
        return ""
    message = str(error.get("message", ""))
    if error.get("code") in _THROTTLED and not is_range_error(message):
        return message or "no reason given"
    is_server_error = error.get("code") in _SERVER_ERRORS and "revert" not in message.lower()
    return message if is_server_error and is_throttle_message(message) else ""


def _retry_after(text: str) -> float:
    """Seconds of a Retry-After header: a number or a date."""
    try:
        if text.strip().isdecimal():
            return min(float(text), LONGEST_WAIT)
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)
