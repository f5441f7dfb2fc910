"""Hospitals in network namespaces of their own, which reach the coordinator and the chain's node and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest

from scripts.setup.paths import ROOT

from .namespaces import COORDINATOR, HOSPITALS, NODE, PORT

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

TRIAL = (
    "ip link set lo up && ip link add one type veth peer name two"
    " && unshare --net true && nsenter -t $$ -n true && ip addr add 10.77.0.1/32 dev lo"
)


def unshare() -> list[str]:
    """The command that makes a namespace; skips where there is none, fails in CI where there should be one."""
    missing = [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
    if missing or sys.platform != "linux":
        pytest.skip(f"needs Linux with iproute2 and util-linux; missing: {', '.join(missing) or 'Linux'}")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--net", "--mount"]
    done = subprocess.run([*command, "sh", "-c", TRIAL], capture_output=True, text=True, check=False)
    if done.returncode:
        why = f"network namespaces are not permitted here: {done.stderr.strip()[-300:]}"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(why)
        pytest.skip(why)
    return command


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `namespaces` found out."""
    folder = tmp_path_factory.mktemp("namespaces")
    process = subprocess.Popen(
        [*unshare(), sys.executable, "-m", "tests.flows.namespaces", str(folder)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"it does not end: {err[-4000:]}") from None
    assert process.returncode == 0, err[-6000:]
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def test_round_is_final_over_mutual_tls(told: dict[str, Any]) -> None:
    assert told["included"] == list(range(HOSPITALS)) and told["audit"] == "ok"
    assert all(told["certificates"])
    # Every message went to the coordinator; nobody had to carry one alone.
    assert told["handed"] == [[f"https://{COORDINATOR}:{PORT}"]] * HOSPITALS and told["carried"] == 0


def test_hospitals_have_no_listening_sockets(told: dict[str, Any]) -> None:
    """Looked at every few milliseconds of the round."""
    assert told["hospitals_listen"] == []
    # The control: the same look at the core finds its two services, and no other that others could reach.
    open_to_others = [each for each in told["core_listens"] if "127.0.0.1" not in each]
    assert len(open_to_others) == 2
    assert open_to_others[0] == f"tcp {COORDINATOR}:{PORT}" and open_to_others[1].startswith(f"tcp {NODE}:")


def test_hospitals_reach_neither_one_another_nor_the_world(told: dict[str, Any]) -> None:
    assert told["coordinator"] == "connected"
    assert told["neighbor_itself"] == told["core_to_neighbor"] == "connected"
    assert told["neighbor"] == told["outside"] == "Network is unreachable"
    assert told["neighbor_with_a_route"] != "connected" and told["forwarding"] == "0"


def test_coordinator_answers_nobody_without_a_certificate(told: dict[str, Any]) -> None:
    assert told["plain_http"] == "HTTP/1.1 400 Bad Request"
    assert told["no_certificate"] == "HTTP/1.1 403 Forbidden"


def test_doctor_lists_exactly_what_was_opened(told: dict[str, Any]) -> None:
    rows = {row["host"]: row for row in told["doctor"]}
    assert set(rows) == {COORDINATOR, NODE} and len(told["doctor"]) == 2
    assert all(row["reachable"] and row["direction"] == "outbound" for row in rows.values())
    assert rows[COORDINATOR]["tls"] and not rows[NODE]["tls"]
