"""Sessions of `requests` that reach servers as the settings say: proxy, TLS context, and the check of a binding.

What goes wrong is raised as `TransportFailure`, which whoever calls `requests` catches already, with the plain reason.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from collegium.errors import CollegiumError

from .failures import explain
from .proxies import Proxies

__all__ = ["Adapter", "TransportFailure", "make_session"]

Check = Callable[[bytes], None]
"""Takes the server's certificate (DER); raises CollegiumError before anything is sent."""


class TransportFailure(requests.ConnectionError):
    """A request that failed for a reason that is known. error: that reason, with a hint."""

    def __init__(self, error: CollegiumError, **arguments: Any) -> None:
        super().__init__(error.message, **arguments)
        self.error = error


class Adapter(HTTPAdapter):
    """For one kind of server.

    context: gives that of each new https connection; None uses that of `requests`. check: of a bound certificate.
    """

    def __init__(
        self,
        proxies: Proxies,
        *,
        context: Callable[[], ssl.SSLContext] | None = None,
        check: Check | None = None,
    ) -> None:
        self._proxies = proxies
        self._options: dict[str, Any] = {}
        self._is_bound = check is not None
        if context is not None:
            self._options["ssl_context"] = context()
        if check is not None:
            self._options["assert_hostname"] = False
        self._pools = {"http": HTTPConnectionPool, "https": _make_pool(check, context)}
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **{**options, **self._options})
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options, **self._options)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        url = str(request.url)
        proxy = self._proxies.for_url(url)
        manager = self.proxy_manager_for(proxy) if proxy else self.poolmanager
        return manager.connection_from_url(url)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """The context says everything; paths of the environment must not widen it."""
        if "ssl_context" not in self._options:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        url = str(request.url)
        options["proxies"] = self._proxies.mapping(url)
        try:
            answer = super().send(request, *arguments, **options)
        except CollegiumError as error:
            raise TransportFailure(error, request=request) from error
        except requests.RequestException as error:
            found = self._proxies.explain(error, url) or explain(error, url, is_bound=self._is_bound)
            if found is None:
                raise
            raise TransportFailure(found, request=request) from error
        if answer.status_code == 407 and (found := self._proxies.explain(requests.HTTPError(response=answer), url)):
            answer.close()
            raise TransportFailure(found, request=request)
        return answer


def make_session(adapter: Adapter, headers: Mapping[str, str] | None = None) -> requests.Session:
    """A session that takes nothing from the environment: neither proxies beside ours nor netrc passwords."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.headers.update(headers or {})
    return session


def _make_pool(check: Check | None, context: Callable[[], ssl.SSLContext] | None) -> type[HTTPSConnectionPool]:
    class Connection(HTTPSConnection):
        def connect(self) -> None:
            if context is not None:
                self.ssl_context = context()
            super().connect()
            if check is None:
                return
            try:
                # Through an https proxy it is TLS inside TLS, which is no SSLSocket.
                link: Any = self.sock
                check(link.getpeercert(True) or b"")
            except BaseException:
                self.close()
                raise

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool
