"""A private Kubo daemon of our own: loopback only, no public network, its own repository.

For demonstrations and tests, where several daemons form a swarm that nobody else can enter.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from collegium.extras import require
from collegium.storage.errors import KuboFailedError, KuboMissingError

__all__ = ["PRIVATE_CONFIG", "KuboDaemon", "create_swarm_key", "find_kubo", "merge_config"]

START_SECONDS = 60.0
STOP_SECONDS = 10.0

PRIVATE_CONFIG: Mapping[str, Any] = {
    "Addresses": {
        "API": "/ip4/127.0.0.1/tcp/0",
        "Gateway": "/ip4/127.0.0.1/tcp/0",
        "Swarm": ["/ip4/127.0.0.1/tcp/0"],
        "Announce": [],
        "AppendAnnounce": [],
        "NoAnnounce": [],
    },
    "AutoConf": {"Enabled": False},
    "AutoNAT": {"ServiceMode": "disabled"},
    "AutoTLS": {"Enabled": False},
    "Bootstrap": [],
    "Discovery": {"MDNS": {"Enabled": False}},
    "DNS": {"Resolvers": {}},
    "Gateway": {"NoFetch": True},
    "HTTPRetrieval": {"Enabled": False},
    "Ipns": {"DelegatedPublishers": []},
    "Provide": {"Enabled": False},
    "Routing": {"Type": "none", "DelegatedRouters": []},
    "Swarm": {
        "DisableNatPortMap": True,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
        # A private swarm works over TCP only.
        "Transports": {
            "Network": {"QUIC": False, "Relay": False, "WebTransport": False, "WebRTCDirect": False, "Websocket": False}
        },
    },
    "Version": {"SwarmCheckEnabled": False},
}
"""Settings of a daemon that knows no public node: no bootstrap, no routing, no relay, no search, all on loopback."""


def find_kubo(executable: Path | str | None = None) -> Path:
    """The `ipfs` executable: the given one or the first on PATH.

    Raises:
        KuboMissingError: there is none.
    """
    found = shutil.which(str(executable) if executable else "ipfs")
    if found is None:
        raise KuboMissingError(
            f"There is no executable {str(executable)!r}." if executable else "There is no `ipfs` on PATH.",
            hint="Install Kubo 0.40 or newer, or run `make kubo`.",
        )
    return Path(found)


def create_swarm_key() -> str:
    """Content of a new `swarm.key`; daemons with the same one form a private swarm."""
    return f"/key/swarm/psk/1.0.0/\n/base16/\n{secrets.token_hex(32)}\n"


class KuboDaemon:
    """One daemon over one repository, from `start` to `stop`.

    repository: folder, made when missing. executable: `ipfs`, by default the one on PATH. swarm_key: makes the
    swarm private. authorization: user and password the RPC then asks for. configured: the repository is used as it
    is (`init_swarm` makes one).
    """

    def __init__(
        self,
        repository: Path,
        *,
        executable: Path | str | None = None,
        swarm_key: str | None = None,
        authorization: tuple[str, str] | None = None,
        configured: bool = False,
    ) -> None:
        self.repository = repository.absolute()
        self._executable = find_kubo(executable)
        self._swarm_key = swarm_key
        self._authorization = authorization
        self._configured = configured
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._opener = build_opener(ProxyHandler({}))

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def uri(self) -> str:
        """Address for `open_store`, with user and password when the RPC asks for them."""
        login = ":".join(quote(part, safe="") for part in self._authorization) + "@" if self._authorization else ""
        return f"kubo://{login}127.0.0.1:{self._port}"

    @property
    def gateway_uri(self) -> str:
        """Address of its trustless gateway for `open_store`; it gives what the daemon has and fetches nothing."""
        return f"gateway+{(self.repository / 'gateway').read_text().strip()}"

    def start(self) -> KuboDaemon:
        """Start and wait until the RPC answers.

        Raises:
            KuboFailedError: it ended or stayed silent; the end of its log is shown.
        """
        self._stop_leftover()
        if not self._configured:
            self._prepare()
        (self.repository / "api").unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._executable), "daemon", "--migrate=false"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.repository,
            )
        self._record(self._process.pid)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the process and wait for it."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._pid_file.unlink(missing_ok=True)

    def connect(self, other: KuboDaemon) -> None:
        """Join the swarm of another local daemon, and stay joined.

        Raises:
            KuboFailedError: no connection.
        """
        address = other.swarm_address()
        self._call("swarm/peering/add", arg=address)
        self._call("swarm/connect", arg=address)

    def peers(self) -> list[str]:
        """Peer ids this daemon is connected to."""
        return [peer["Peer"] for peer in self._call("swarm/peers").get("Peers") or []]

    def peer_id(self) -> str:
        """The daemon's own peer id."""
        return str(self._call("id")["ID"])

    def swarm_address(self) -> str:
        """Where other local daemons reach this one."""
        addresses = self._call("id").get("Addresses") or []
        for address in addresses:
            if str(address).startswith("/ip4/127.0.0.1/tcp/"):
                return str(address)
        raise KuboFailedError(f"The daemon in {self.repository} listens on no loopback port.", addresses=addresses)

    def __enter__(self) -> KuboDaemon:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # parts

    @property
    def _log(self) -> Path:
        return self.repository / "daemon.log"

    @property
    def _pid_file(self) -> Path:
        return self.repository / "daemon.json"

    def _environment(self) -> dict[str, str]:
        values = {**os.environ, "IPFS_PATH": str(self.repository), "IPFS_TELEMETRY": "off"}
        if self._swarm_key or self._configured:
            values["LIBP2P_FORCE_PNET"] = "1"
        return values

    def _prepare(self) -> None:
        self.repository.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.repository / "config"
        if not path.exists():
            made = subprocess.run(
                [str(self._executable), "init", "--empty-repo", "--profile=test"],
                env=self._environment(), capture_output=True, text=True, timeout=START_SECONDS, check=False,
            )  # fmt: skip
            if made.returncode:
                raise KuboFailedError(
                    f"`ipfs init` failed: {made.stderr.strip()[-500:]}", hint="Remove the repository."
                )
        config = json.loads(path.read_text())
        merge_config(config, PRIVATE_CONFIG)
        config["API"]["Authorizations"] = {}
        if self._authorization:
            user, password = self._authorization
            config["API"]["Authorizations"] = {
                user: {"AuthSecret": f"basic:{user}:{password}", "AllowedPaths": ["/api/v0"]}
            }
        path.write_text(json.dumps(config, indent=2))
        if self._swarm_key:
            (self.repository / "swarm.key").write_text(self._swarm_key)

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        assert self._process is not None
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise self._failed(f"ended with {self._process.returncode}")
            with contextlib.suppress(OSError, ValueError):
                # /ip4/127.0.0.1/tcp/<port>
                self._port = int((self.repository / "api").read_text().strip().rsplit("/", 1)[1])
                self._call("version")
                return
            time.sleep(0.05)
        raise self._failed(f"did not answer within {START_SECONDS:.0f} s")

    def _failed(self, what: str) -> KuboFailedError:
        log = self._log.read_text(errors="replace")[-1000:].strip() if self._log.exists() else ""
        return KuboFailedError(f"Kubo in {self.repository} {what}:\n{log}", hint=f"See {self._log}.")

    def _call(self, command: str, **parameters: str) -> dict[str, Any]:
        """One RPC; ours speaks to our own daemon only, so no client library is needed."""
        request = Request(
            f"http://127.0.0.1:{self._port}/api/v0/{command}?{urlencode(parameters)}", data=b"", method="POST"
        )
        if self._authorization:
            import base64

            request.add_header(
                "Authorization", "Basic " + base64.b64encode(":".join(self._authorization).encode()).decode()
            )
        try:
            with self._opener.open(request, timeout=15) as answer:
                content: dict[str, Any] = json.loads(answer.read(1 << 20))
                return content
        except URLError as error:
            if command == "version":
                raise
            detail = error.read(1000).decode(errors="replace") if hasattr(error, "read") else str(error)
            raise KuboFailedError(f"Kubo refused {command}: {detail}", hint=f"See {self._log}.") from error

    def _record(self, pid: int) -> None:
        """Write down which process runs here for whom, in case the owner is killed."""
        record = {"pid": pid, "started": _start_time(pid), "owner": os.getpid()}
        self._pid_file.write_text(json.dumps({**record, "owner_started": _start_time(os.getpid())}))

    def _stop_leftover(self) -> None:
        """End a daemon over this repository whose owner was killed; only the very process that was recorded."""
        try:
            record = json.loads(self._pid_file.read_text())
            pid, started = int(record["pid"]), float(record["started"])
            owner, owner_started = int(record["owner"]), float(record["owner_started"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if started and _start_time(pid) == started:
            if owner_started and _start_time(owner) == owner_started:
                raise KuboFailedError(
                    f"The daemon in {self.repository} (process {pid}) belongs to process {owner}.",
                    hint="Stop that one first, or use another repository.",
                )
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                end = time.monotonic() + STOP_SECONDS
                while _start_time(pid) == started and time.monotonic() < end:
                    time.sleep(0.05)
        self._pid_file.unlink(missing_ok=True)


def _start_time(pid: int) -> float:
    """When a process began, unix seconds; 0 when it is gone. Tells a process from a later one of the same id."""
    require("kubo", "psutil")
    import psutil  # type: ignore[import-untyped, unused-ignore]

    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return 0.0


def merge_config(into: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """Set `wanted` in a configuration, and leave alone what it does not name."""
    for name, value in wanted.items():
        if isinstance(value, Mapping) and value and isinstance(into.get(name), dict):
            merge_config(into[name], value)
        else:
            into[name] = value
