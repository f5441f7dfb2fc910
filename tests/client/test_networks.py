"""Settings of the network by command, and what `doctor` says of nodes and clocks."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collegium.chain import following
from collegium.chain.devnet import Devnet
from collegium.chain.rpc import Rpc
from collegium_client.cli import setup
from collegium_client.cli.app import run
from collegium_client.cli.reaching import Advice
from collegium_client.egress_list import list_egress
from collegium_client.home import Home


def envelope(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = run([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


class TestInit:
    def test_several_nodes_and_a_profile(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        urls = ["http://127.0.0.1:1", "https://node.example/v2/KEY"]
        words = ["--home", str(tmp_path), *(word for url in urls for word in ("--rpc", url)), "--profile", "sepolia"]
        assert envelope(capsys, "init", *words)[0] == 0
        network = Home(tmp_path).network
        assert network.rpc_url == ", ".join(urls)
        assert (network.chain_id, network.confirmations, network.poll_interval) == (11155111, 5, 4.0)
        assert Rpc(network.rpc_url).name == "http://127.0.0.1:1, https://node.example/…"

    def test_unknown_profile_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, shown = envelope(capsys, "init", "--home", str(tmp_path / "home"), "--profile", "sepola")
        assert (code, shown["error"]["hint"]) == (2, "Did you mean 'sepolia'?")
        assert not (tmp_path / "home").exists()

    def test_one_node_stays_one_text(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        envelope(capsys, "init", "--home", str(tmp_path), "--rpc", "http://127.0.0.1:1")
        assert 'rpc_url = "http://127.0.0.1:1"' in (tmp_path / "collegium.toml").read_text()


def test_every_node_and_gateway_is_on_the_list_for_the_firewall(tmp_path: Path) -> None:
    (tmp_path / "collegium.toml").write_text(
        '[network]\nrpc_url = ["http://one.example:8545", "https://two.example/v2/KEY"]\nproxy = "http://proxy.example:3128"\n'
        'no_proxy = ["one.example"]\n[stores]\nread = ["gateway+https://gateway.example", "gateway+http://plain.example"]\n'
    )
    home = Home(tmp_path)
    rows = {(row.host, row.port): row.proxy for row in list_egress(home.settings, home.settings.proxies)}
    assert set(rows) == {
        ("one.example", 8545), ("two.example", 443), ("gateway.example", 443), ("plain.example", 80),
        ("proxy.example", 3128),
    }  # fmt: skip
    assert not rows["one.example", 8545]
    assert rows["gateway.example", 443] == "http://proxy.example:3128"


def home_with(chain: object) -> Any:
    return SimpleNamespace(chain=lambda: chain)


@pytest.mark.chain
class TestDoctor:
    def test_node_that_is_away_is_named(self) -> None:
        with Devnet.start(accounts=1) as devnet:
            rpc = Rpc([devnet.url, "http://127.0.0.1:9/v3/KEY"])
            with pytest.raises(Advice) as caught:
                setup._check_nodes(home_with(SimpleNamespace(rpc=rpc)))
            assert "http://127.0.0.1:9/… does not answer" in caught.value.detail
            assert "KEY" not in caught.value.detail
            assert devnet.url in setup._check_nodes(home_with(SimpleNamespace(rpc=Rpc(devnet.url))))

    @pytest.mark.parametrize(("ahead", "words"), [(400, "400 s ahead of"), (-400, "400 s behind"), (3, "")])
    def test_wrong_clock_is_told(self, monkeypatch: pytest.MonkeyPatch, ahead: int, words: str) -> None:
        monkeypatch.setattr(following, "time", SimpleNamespace(time=lambda: 10_000.0 + ahead))
        home = home_with(SimpleNamespace(now=lambda: 10_000))
        if not words:
            assert "within 30 s" in setup._check_clock(home)
            return
        with pytest.raises(Advice) as caught:
            setup._check_clock(home)
        assert words in caught.value.detail
