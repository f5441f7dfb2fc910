"""HTTP with an explorer's API: bounded, patient with rate limits, silent about keys.

An answer that is no JSON, a redirect, or more bytes than such an answer has, is an answer of something else.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from collegium.errors import UsageError
from collegium.transport.proxies import Proxies
from collegium.words import is_loopback, printable, reason_of

from .errors import ExplorerUnreachableError

__all__ = ["Answer", "Web"]

TIMEOUT = 60.0
RETRY_FOR = 120.0
LONGEST_PAUSE = 30.0
MAX_BYTES = 8 << 20
_BUSY = (429, 502, 503, 504)
_AGENT = "collegium-contracts-verify"


@dataclass(frozen=True, slots=True)
class Answer:
    """content: the parsed JSON object."""

    status: int
    content: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A field as foreign text that may be shown."""
        return printable(str(self.content.get(name) or ""), 500)


class Web:
    """One API. secret: never shown, and sent over TLS or to loopback only.

    retry_for: seconds during which a busy or silent server is asked again. pause: seconds before the first repetition.
    contact: told the address before it is asked.
    """

    def __init__(
        self,
        base: str,
        *,
        secret: str = "",
        proxies: Proxies | None = None,
        timeout: float | None = None,
        retry_for: float | None = None,
        pause: float = 1.0,
        contact: Callable[[str], None] = lambda url: None,
    ) -> None:
        self.base = base.rstrip("/")
        parts = urlsplit(self.base)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise UsageError(f"{printable(base, 200)} is not the address of an API.", hint="For example https://host/api.")
        if secret and parts.scheme != "https" and not is_loopback(parts.hostname):
            raise UsageError(f"An API key would travel to {parts.hostname} in the clear.", hint="Use https.")
        self._secret = secret
        self._proxies = proxies or Proxies()
        self._timeout = TIMEOUT if timeout is None else timeout
        self._retry_for = RETRY_FOR if retry_for is None else retry_for
        self._pause = pause
        self._contact = contact

    def get(self, path: str, **options: Any) -> Answer:
        """options: as `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        """options: as `request`. An answer that was lost raises with `accepted=True`: it may have been taken."""
        return self.request("POST", path, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        busy: Callable[[Answer], bool] = lambda answer: answer.status in _BUSY,
        **options: Any,
    ) -> Answer:
        """One call, repeated while the server is busy. options: of `requests` (params, json, data, files).

        Raises ExplorerUnreachableError; evidence: `accepted`, the server may have taken the request; `foreign`, what
        answers is not this API.
        """
        give_up = time.monotonic() + self._retry_for
        pause = self._pause
        while True:
            problem: ExplorerUnreachableError
            wait = pause
            try:
                answer, wait_for = self._once(method, path, options)
                if not busy(answer):
                    return answer
                wait = wait_for or pause
                problem = self._unreachable(f"is busy (HTTP {answer.status} {answer.text('message')})".rstrip())
            except ExplorerUnreachableError as error:
                # Something else than the API will not become it, and what may have been taken is not sent twice.
                if error.evidence.get("foreign") or (method != "GET" and error.evidence.get("accepted")):
                    raise
                problem = error
            if time.monotonic() + wait > give_up:
                raise problem
            time.sleep(wait * random.uniform(0.8, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _once(self, method: str, path: str, options: Mapping[str, Any]) -> tuple[Answer, float]:
        import requests

        url = self.base + path
        self._contact(url)
        try:
            with requests.request(
                method, url, timeout=self._timeout, allow_redirects=False, stream=True,
                headers={"Accept": "application/json", "User-Agent": _AGENT},
                proxies=self._proxies.mapping(url), **options,
            ) as response:  # fmt: skip
                body = _read(response, time.monotonic() + 4 * self._timeout)
                return self._parse(response.status_code, body, response.headers), _retry_after(response.headers)
        except requests.exceptions.RequestException as error:
            if blamed := self._proxies.explain(error, url):
                raise blamed from None
            # Connecting failed: nothing was sent. Later: who knows.
            unsent = isinstance(error, requests.exceptions.ConnectTimeout) or "NewConnectionError" in repr(error)
            late = isinstance(error, requests.exceptions.Timeout)
            why = "did not answer in time" if late else f"does not answer ({self._hide(reason_of(error))})"
            # `from None`: the original names the URL, and with it the key.
            raise self._unreachable(why, accepted=not unsent) from None

    def _parse(self, status: int, body: bytes, headers: Mapping[str, str]) -> Answer:
        if 300 <= status < 400:
            where = printable(self._hide(headers.get("Location", "")), 200)
            raise self._unreachable(f"points elsewhere ({where})", foreign=True, hint="Give the address it points to.")
        try:
            content = json.loads(body)
        except ValueError:
            if status in _BUSY:
                return Answer(status, {})
            kind = printable(headers.get("Content-Type", "no type"), 60)
            what = f"answered HTTP {status} with {kind} instead of JSON"
            raise self._unreachable(what, foreign=True, hint="Is that the address of its API?") from None
        if not isinstance(content, dict):
            raise self._unreachable(f"answered HTTP {status} with JSON of another shape", foreign=True)
        return Answer(status, content)

    def _hide(self, text: str) -> str:
        return text.replace(self._secret, "(key)") if self._secret else text

    def _unreachable(
        self, what: str, *, accepted: bool = False, foreign: bool = False, hint: str = ""
    ) -> ExplorerUnreachableError:
        return ExplorerUnreachableError(
            f"{self.base} {what}.",
            hint=hint or "Run the same command again later; what was accepted is not sent twice.",
            accepted=accepted,
            foreign=foreign,
        )


def _read(response: Any, deadline: float) -> bytes:
    """The body, unless it is endless: too long, or a byte now and then."""
    body = b""
    for part in response.iter_content(1 << 16):
        body += part
        if len(body) > MAX_BYTES or time.monotonic() > deadline:
            raise ExplorerUnreachableError(
                "The answer has no end.", hint="Is that the address of its API?", foreign=True
            )
    return body


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return min(max(float(headers.get("Retry-After", 0)), 0.0), LONGEST_PAUSE)
    except ValueError:
        return 0.0
