"""A federation over network namespaces: `python -m tests.flows.namespaces FOLDER`, in a namespace of its own.

    core        Anvil on 10.77.0.2, coordinator on 10.77.0.1 with mutual TLS; forwards nothing
    hospital i  10.77.i.2, one cable to the core, routes to those two addresses and to nothing else

Plays a round to its end, lets hospitals try what they must not be able to do, and prints what came of it as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from collegium.chain.devnet import Devnet
from collegium.records import bits
from scripts.setup.paths import ROOT

from .arena import Arena

HOSPITALS = 3
COORDINATOR, NODE, PORT = "10.77.0.1", "10.77.0.2", 8470
OUTSIDE = "192.0.2.1"


def ip(*words: str, pid: int | None = None) -> None:
    """A command of iproute2, in the namespace of a process."""
    inside = ["nsenter", "-t", str(pid), "-n"] if pid else []
    done = subprocess.run([*inside, "ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def hospital_namespace(at: int) -> Iterator[int]:
    """A namespace with a cable to this one; yields the id of a process that lives in it."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "600"], start_new_session=True)
    try:
        give_up = time.monotonic() + 5
        mine = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{holder.pid}/ns/net").readlink() == mine:
            assert time.monotonic() < give_up and holder.poll() is None, "unshare --net does not work"
            time.sleep(0.01)
        pid, net = holder.pid, f"10.77.{at}"
        ip("link", "add", f"core{at}", "type", "veth", "peer", "name", f"house{at}", "netns", str(pid))
        ip("addr", "add", f"{net}.1/30", "dev", f"core{at}")
        ip("link", "set", f"core{at}", "up")
        ip("link", "set", "lo", "up", pid=pid)
        ip("addr", "add", f"{net}.2/30", "dev", f"house{at}", pid=pid)
        ip("link", "set", f"house{at}", "up", pid=pid)
        for host in (COORDINATOR, NODE):
            ip("route", "add", f"{host}/32", "via", f"{net}.1", pid=pid)
        yield pid
    finally:
        holder.kill()
        holder.wait()


def listening(pid: int) -> list[str]:
    """Sockets in the namespace of a process that others could talk to: TCP that listens, UDP that is open."""
    found = []
    for name, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            local, status = line.split()[1], line.split()[3]
            if status == state:
                address, _, port = local.partition(":")
                host = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address
                found.append(f"{name} {host}:{int(port, 16)}")
    return sorted(found)


def connect_from(pid: int, host: str, port: int) -> str:
    """`connected`, or the name of the error."""
    code = (
        "import socket,sys\n"
        "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1.5); print('connected')\n"
        "except OSError as error: print(error.strerror or type(error).__name__)"
    )
    command = ["nsenter", "-t", str(pid), "-n", sys.executable, "-S", "-c", code, host, str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


@contextmanager
def listener_in(pid: int) -> Iterator[int]:
    """A server on a free port of a namespace, for others to try; yields the port."""
    code = (
        "import socket,sys\n"
        "s = socket.create_server(('0.0.0.0', 0)); print(s.getsockname()[1], flush=True)\n"
        "while True: s.accept()"
    )
    command = ["nsenter", "-t", str(pid), "-n", sys.executable, "-S", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Processes:
    """Roles in namespaces, with their logs."""

    def __init__(self) -> None:
        self._running: list[tuple[Path, subprocess.Popen[bytes]]] = []

    def start(self, role: str, home: Path, pid: int | None = None) -> None:
        inside = ["nsenter", "-t", str(pid), "-n"] if pid else []
        with (home / "process.log").open("ab") as log:
            process = subprocess.Popen(
                [*inside, sys.executable, "-m", "tests.flows.killed", role, str(home)], cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._running.append((home, process))

    def check(self) -> None:
        for home, process in self._running:
            assert process.poll() is None, f"{home.name} died:\n{(home / 'process.log').read_text()[-3000:]}"

    def stop(self) -> None:
        for _, process in self._running:
            process.send_signal(signal.SIGTERM)
        for _, process in self._running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running = []


def make_world(folder: Path, devnet: Devnet) -> Arena:
    """Homes that know the coordinator by its address alone: its node key they find on the chain."""
    url = f"https://{COORDINATOR}:{PORT}"
    node_url = devnet.url.replace("127.0.0.1", NODE)
    world = Arena(
        devnet, folder, hospitals=HOSPITALS, rpc_url=node_url, coordinator={"listen": f"{COORDINATOR}:{PORT}"}
    )
    for home in (*world.hospitals, *world.coordinators):
        world.edit(home, "coordinators", urls=[url])
        world.edit(home, "stores", read=[])
    return world


def play(world: Arena, pids: list[int]) -> dict[str, Any]:
    processes = Processes()
    try:
        processes.start("coordinator", world.coordinators[0])
        _wait_for_port(processes)
        for home, pid in zip(world.hospitals, pids, strict=True):
            processes.start("hospital", home, pid)
        began = time.monotonic()

        seen: set[str] = set()

        def is_final(view: Any) -> Any:
            processes.check()
            seen.update(f"hospital-{at} {each}" for at, pid in enumerate(pids) for each in listening(pid))
            found = view.round(1)
            return found if found is not None and found.record is not None else None

        final = world.wait("round 1 final", is_final)
        found = try_everything(pids)
        processes.check()
        found |= {
            "hospitals_listen": sorted(seen),
            "included": list(bits(final.outcome.included)),
            "seconds": round(time.monotonic() - began, 1),
            "handed": [sorted({e["to"][0] for e in world.told(at, "handed")}) for at in range(HOSPITALS)],
            "carried": sum(len(world.told(at, "carried")) for at in range(HOSPITALS)),
            "certificates": [(home / "tls" / "node.pem").exists() for home in world.hospitals],
            "doctor": doctor(world.hospitals[0], pids[0]),
            "audit": world.audit().verdict,
        }
        return found
    finally:
        processes.stop()


def try_everything(pids: list[int]) -> dict[str, Any]:
    """What a hospital can and cannot reach, with a control for each thing it cannot."""
    first, second = pids[0], pids[1]
    found: dict[str, Any] = {
        "core_listens": listening(os.getpid()),
        "coordinator": connect_from(first, COORDINATOR, PORT),
        "outside": connect_from(first, OUTSIDE, 443),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text().strip(),
    }
    with listener_in(second) as port:
        found["neighbor_itself"] = connect_from(second, "10.77.2.2", port)
        found["core_to_neighbor"] = _connect("10.77.2.2", port)
        found["neighbor"] = connect_from(first, "10.77.2.2", port)
        # Even if its router were told a way: the core passes nothing on.
        ip("route", "add", "10.77.2.2/32", "via", "10.77.1.1", pid=first)
        found["neighbor_with_a_route"] = connect_from(first, "10.77.2.2", port)
    found["plain_http"] = _speak_plainly()
    found["no_certificate"] = _ask_without_certificate()
    return found


def doctor(home: Path, pid: int) -> list[dict[str, Any]]:
    """The egress list as the hospital's own command prints it, from where the hospital is."""
    command = ["nsenter", "-t", str(pid), "-n", sys.executable, "-m", "collegium_client.cli", "doctor", "--egress"]
    done = subprocess.run(
        [*command, "--json", "--home", str(home)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / each) for each in ("", "client"))},
    )  # fmt: skip
    rows: list[dict[str, Any]] = json.loads(done.stdout)["data"]["egress"]
    return rows


def _connect(host: str, port: int) -> str:
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=2).close()
        return "connected"
    return "failed"


def _speak_plainly() -> str:
    with socket.create_connection((COORDINATOR, PORT), timeout=5) as link:
        link.sendall(b"GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n")
        return link.recv(4096).decode().split("\r\n")[0]


def _ask_without_certificate() -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection((COORDINATOR, PORT), timeout=5)
    with context.wrap_socket(raw) as link:
        link.sendall(b"GET /v1/info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return link.recv(4096).decode().split("\r\n")[0]


def _wait_for_port(processes: Processes) -> None:
    give_up = time.monotonic() + 30
    while _connect(COORDINATOR, PORT) != "connected":
        processes.check()
        assert time.monotonic() < give_up, "the coordinator does not listen"
        time.sleep(0.1)


def main(folder: Path) -> None:
    ip("link", "set", "lo", "up")
    for host in (COORDINATOR, NODE):
        ip("addr", "add", f"{host}/32", "dev", "lo")
    with ExitStack() as stack:
        pids = [stack.enter_context(hospital_namespace(at + 1)) for at in range(HOSPITALS)]
        devnet = stack.enter_context(Devnet.start(arguments=["--host", NODE]))
        world = make_world(folder, devnet)
        stack.callback(world.close)
        print(json.dumps(play(world, pids)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
