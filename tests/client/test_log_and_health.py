"""`collegium log` and `collegium health` as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.egress import FILE, EgressLog, about, verify
from collegium.errors import ConfigError
from collegium.observability.serving import ObservabilitySettings, observed, parse_address
from collegium_client.cli.app import run

Type = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert run(["init", "--home", str(tmp_path / "home")]) == 0
    return tmp_path / "home"


@pytest.fixture
def typed(home: Path, capsys: pytest.CaptureFixture[str]) -> Type:
    """Runs a command on the home, expects an exit code, and returns data or error of the envelope."""
    capsys.readouterr()

    def type_(*arguments: str, code: int = 0) -> Any:
        assert run([*arguments, "--home", str(home), "--json"]) == code
        envelope = json.loads(capsys.readouterr().out)
        return envelope["error"] if code else envelope

    return type_


@pytest.fixture
def log(home: Path) -> Path:
    path = home / "state" / FILE
    written = EgressLog(path)
    written.contact("https://user:secret@rpc.example/v3/key")
    for study, number in ((1, 1), (1, 2), (2, 1)):
        with about(study, number):
            written.record("message", "https://coordinator.example", b"%d %d" % (study, number), topic="updates")
    written.record("blob", "http://evil\x1b[2J.example", b"x", cid="bafk")
    return path


class TestLog:
    def test_show_filters(self, typed: Type, log: Path) -> None:
        def shown(*options: str) -> list[tuple[Any, Any]]:
            records = typed("log", "show", *options)["data"]["records"]
            return [(record["study"], record["round"]) for record in records]

        assert len(shown()) == 5
        assert shown("--study", "1") == [(1, 1), (1, 2)]
        assert shown("--study", "1", "--round", "2") == [(1, 2)]
        assert len(shown("--kind", "blob")) == 1
        assert len(shown("--since", "1h")) == 5 and shown("--since", "2100-01-01") == []
        assert typed("log", "show", "--since", "yesterday", code=2)["code"] == "config_invalid"

    def test_show_drives_no_terminal_and_holds_no_secret(
        self, home: Path, log: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["log", "show", "--home", str(home)]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out and "evil" in out and "study 1 round 2 updates" in out
        assert "secret" not in out and "key" not in out
        assert run(["log", "show", "--jsonl", "--home", str(home)]) == 0
        assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 5

    def test_verify(self, typed: Type, log: Path) -> None:
        whole = typed("log", "verify")["data"]
        assert whole["records"] == 5 and whole["broken_line"] is None
        head = whole["head"]
        assert typed("log", "verify", "--head", head)["ok"]
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:4]))
        assert "cut off" in typed("log", "verify", "--head", head, code=4)["message"]
        log.write_bytes(b"".join([*lines[:2], lines[2].replace(b"updates", b"nothing"), *lines[3:]]))
        error = typed("log", "verify", code=4)
        assert error["code"] == "egress_log_broken" and error["evidence"]["line"] == 3
        assert "Line 3" in error["message"]

    def test_an_unfinished_line_is_explained_and_no_error(self, typed: Type, log: Path) -> None:
        with log.open("ab") as file:
            file.write(b'{"bytes":1,"dest')
        envelope = typed("log", "verify")
        assert envelope["data"]["torn_bytes"] == 16 and "killed" in envelope["warnings"][0]
        EgressLog(log).record("blob", "http://a", b"next")
        assert verify(log).records == 7

    def test_nothing_left_yet(self, typed: Type) -> None:
        assert "Nothing has left" in typed("log", "show", code=3)["message"]


class TestHealth:
    @pytest.fixture
    def trouble(self, home: Path) -> Iterator[dict[str, Any]]:
        """What the check of a running role finds; empty when all is well."""
        facts: dict[str, Any] = {}
        with observed(ObservabilitySettings(metrics="0"), home=home, role="node", version="1",
                      checks={"chain": lambda: dict(facts)}):  # fmt: skip
            yield facts

    def test_ready_and_not(self, typed: Type, trouble: dict[str, Any]) -> None:
        (endpoint,) = typed("health")["data"]["endpoints"]
        assert endpoint["ready"] and endpoint["role"] == "node"
        trouble["problem"] = "the node \x1b[31mis silent"
        error = typed("health", code=3)
        assert "chain: the node" in error["message"] and "\x1b" not in error["message"]

    def test_nothing_runs(self, typed: Type) -> None:
        assert "--metrics" in typed("health", code=3)["hint"]

    def test_killed(self, typed: Type, home: Path) -> None:
        (home / "state" / "health").mkdir(parents=True)
        (home / "state" / "health" / "node.json").write_text('{"url": "http://127.0.0.1:9"}')
        assert typed("health", code=5)["retryable"] is True


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:5", ("::1", 5)),
    ],
)
def test_an_address_without_a_host_is_loopback(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1", "127.0.0.1:99999", "a:b"])
def test_no_address(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_a_taken_port_is_named(home: Path) -> None:
    with observed(ObservabilitySettings(metrics="0"), home=home, role="a", version="1", checks={}) as url:
        assert url is not None
        taken = ObservabilitySettings(metrics=url.removeprefix("http://"))
        with pytest.raises(ConfigError, match="cannot be served"), observed(
            taken, home=home, role="b", version="1", checks={}
        ):
            pass
