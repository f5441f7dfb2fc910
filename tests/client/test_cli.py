"""The command line: what it prints where, how it ends, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.chain import Deployment
from collegium.errors import ConfigError, DeploymentMissingError
from collegium_client.cli.app import run
from collegium_client.plan import format_tokens, parse_tokens
from collegium_client.settings import Settings
from tests.client.worlds import EXAMPLE, World

SOURCES = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "client")]


class Shell:
    """Commands of one home, in this process."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *words: str, json_output: bool = True) -> tuple[int, Any, str]:
        """Exit code, data of stdout, text of stderr."""
        self._capsys.readouterr()
        code = run([*words, "--home", str(self.home), *(["--json"] if json_output else [])])
        out, err = self._capsys.readouterr()
        return code, json.loads(out) if json_output else out, err


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    monkeypatch.setenv("COLLEGIUM_PASSWORD_FILE", str(password))
    return Shell(tmp_path / "home", capsys)


class TestStart:
    def test_help_loads_nothing_heavy(self) -> None:
        code = (
            "import sys; sys.path[:0] = sys.argv[1:3]; sys.argv = ['collegium', '--help']\n"
            "from collegium_client.cli.app import run\n"
            "code = run()\n"
            "assert not {'torch', 'web3', 'numpy', 'sklearn'} & set(sys.modules), sorted(sys.modules)\n"
            "sys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", code, *SOURCES], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for name in ("init", "join", "study", "watch", "audit", "devnet"):
            assert name in done.stdout

    def test_help_is_quick(self) -> None:
        code = (
            "import sys; sys.path[:0] = sys.argv[1:]; sys.argv = ['collegium', '--help']\n"
            "from collegium_client.cli import main\n"
            "main()"
        )
        spent = []
        for _ in range(3):
            before = os.times()
            subprocess.run([sys.executable, "-c", code, *SOURCES], capture_output=True, check=True)
            after = os.times()
            # Processor time: other tests share the machine.
            spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert min(spent) < 0.6

    @pytest.mark.parametrize("group", ["keys", "stake", "study", "train", "round", "model", "devnet", "institution"])
    def test_every_command_has_help(self, group: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run([group, "--help"]) == 0
        listed = capsys.readouterr().out
        from collegium_client.cli.app import _TREE

        for name in _TREE[group]:
            assert name in listed
            assert run([group, name, "--help"]) == 0

    def test_unknown_options_are_usage_errors(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["version", "--nonsense", "--json"]) == 2
        envelope = json.loads(capsys.readouterr().out)
        assert (envelope["schema"], envelope["ok"], envelope["error"]["code"]) == ("collegium.cli/1", False, "usage")


class TestHome:
    def test_init_writes_settings_that_load(self, shell: Shell) -> None:
        code, envelope, _ = shell("init", "--rpc-url", "http://127.0.0.1:1", "--set", "data.site=2", "--chain-id", "5")
        assert code == 0 and envelope["ok"] and envelope["command"] == "init"
        settings = Settings.load(shell.home, {})
        assert settings.get("network", "chain_id") == 5
        assert settings.data == {"site": 2}
        assert shell("init")[0] == 3

    def test_unknown_settings_propose_the_known_one(self, shell: Shell) -> None:
        code, envelope, _ = shell("init", "--set", "network.rpc_ulr=x")
        assert code == 2
        assert "rpc_url" in envelope["error"]["message"]
        assert not (shell.home / "collegium.toml").exists()

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--deployment", "nowhere.json"), "nowhere.json"),
            (("--coordinator", "coordinator"), "no URL"),
            (("--coordinator", "ftp://host"), "no URL"),
            (("--store", "folder/of/blobs"), "no address"),
            (("--push", ""), "no address"),
            (("--set", "network.poll_interval=-1"), "poll_interval"),
            (("--set", "network.retry_for=-0.5"), "retry_for"),
            (("--set", "network.retry_for=nan"), "retry_for"),
        ],
    )
    def test_init_refuses_what_cannot_be(self, shell: Shell, options: tuple[str, ...], said: str) -> None:
        code, envelope, _ = shell("init", *options)
        assert code == 2 and said in envelope["error"]["message"]
        assert envelope["error"]["hint"]
        assert not (shell.home / "collegium.toml").exists()

    def test_init_anew_says_what_it_drops(self, shell: Shell) -> None:
        shell("init", "--chain-id", "5", "--set", "data.site=2", "--set", "network.rate=3")
        code, envelope, _ = shell("init", "--force", "--chain-id", "6")
        assert code == 0
        (warning,) = envelope["warnings"]
        assert "[data] (site)" in warning and "network.rate" in warning and "chain_id" not in warning

    def test_doctor_names_commands_that_mend_this_home(self, shell: Shell) -> None:
        shell("init", "--rpc-url", "http://127.0.0.1:9", "--set", "network.retry_for=0.1")
        _, envelope, _ = shell("doctor")
        fixes = {row["check"]: row["fix"] for row in envelope["data"]["checks"]}
        assert fixes["coordinators"] == """collegium config set 'coordinators.urls=["URL"]'"""
        assert shell("config", "set", 'coordinators.urls=["http://127.0.0.1:1"]')[0] == 0
        with pytest.raises(DeploymentMissingError) as missing:
            Deployment.find(999_999)
        assert "config set network.deployment=FILE" in missing.value.hint

    def test_help_shows_the_key_that_is_taken(self, capsys: pytest.CaptureFixture[str]) -> None:
        for command in (("council", "submit"), ("study", "pause")):
            assert run([*command, "--help"]) == 0
            assert "[default: institution]" in capsys.readouterr().out

    def test_origins_are_shown(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        shell("init", "--chain-id", "5")
        monkeypatch.setenv("COLLEGIUM_TRAINING_THREADS", "3")
        _, envelope, _ = shell("config", "show", "--origin")
        data = envelope["data"]
        assert data["training.threads"] == {"value": 3, "origin": "COLLEGIUM_TRAINING_THREADS"}
        assert data["network.chain_id"]["origin"].endswith("collegium.toml")
        assert data["node.carry_after"]["origin"] == "default"

    def test_a_setting_is_changed_and_comments_stay(self, shell: Shell) -> None:
        shell("init", "--chain-id", "5")
        path = shell.home / "collegium.toml"
        path.write_text("# mine\n" + path.read_text())
        code, envelope, _ = shell("config", "set", "data.site=2", "training.threads=3", "keys.password_file=here")
        assert code == 0 and envelope["data"]["set"]["data"] == {"site": 2}
        assert path.read_text().startswith("# mine")
        settings = Settings.load(shell.home, {})
        assert (settings.data, settings.get("training", "threads")) == ({"site": 2}, 3)
        assert shell("config", "set", "data.study-2.path=there", "data.study-2.site=7")[0] == 0
        assert shell("config", "set", "data.study-2.site=8")[0] == 0
        settings = Settings.load(shell.home, {})
        assert settings.data_of(2) == {"site": 8, "path": "there"} and settings.data_of(1) == {"site": 2}
        before = path.read_bytes()
        for wrong in ("training.treads=1", "training.threads=many", "nonsense", "=3"):
            assert shell("config", "set", wrong)[0] == 2
        assert path.read_bytes() == before

    def test_misspelt_variables_are_told(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        shell("init")
        monkeypatch.setenv("COLLEGIUM_NETWORK_RPC_ULR", "http://127.0.0.1:1")
        monkeypatch.setenv("COLLEGIUM_DATA_SITE", "1")
        _, envelope, _ = shell("config", "show")
        assert [warning for warning in envelope["warnings"] if "COLLEGIUM_NETWORK_RPC_URL" in warning]
        assert len(envelope["warnings"]) == 1

    def test_keys_are_made_once(self, shell: Shell) -> None:
        shell("init")
        code, envelope, _ = shell("keys", "new", "node", "--light")
        assert code == 0
        address = envelope["data"]["address"]
        assert shell("keys", "show", "node")[1]["data"]["address"] == address
        assert shell("keys", "new", "node", "--light")[0] == 6
        path = shell.home / "keystore" / "node.json"
        assert path.stat().st_mode & 0o077 == 0
        assert [key["alias"] for key in shell("keys", "list")[1]["data"]["keys"]] == ["node"]

    def test_talk_goes_to_stderr(self, shell: Shell) -> None:
        code, out, err = shell("stake", "status", json_output=False)
        assert code == 3
        assert out == ""
        assert "error:" in err and "next: " in err

    def test_a_silent_chain_is_unreachable(self, shell: Shell, tmp_path: Path) -> None:
        shell("init", "--rpc-url", "http://127.0.0.1:9", "--set", "network.retry_for=0.1")
        deployment = tmp_path / "deployment.json"
        deployment.write_text(
            json.dumps({"chainId": 31337, "startBlock": 0, "deployer": "0x" + "11" * 20, "contracts": {}})
        )
        os.environ["COLLEGIUM_NETWORK_DEPLOYMENT"] = str(deployment)
        try:
            code, envelope, _ = shell("study", "list")
        finally:
            del os.environ["COLLEGIUM_NETWORK_DEPLOYMENT"]
        assert code == 5
        assert envelope["error"]["retryable"] is True

    def test_a_damaged_file_is_a_config_error(self, tmp_path: Path) -> None:
        (tmp_path / "collegium.toml").write_text("[network\n")
        with pytest.raises(ConfigError, match="cannot be read"):
            Settings.load(tmp_path, {})


class TestTokens:
    def test_amounts_are_exact(self) -> None:
        assert parse_tokens("12.5") == 12_500_000_000_000_000_000
        assert format_tokens(parse_tokens("0.000000000000000001")) == "0.000000000000000001"
        assert format_tokens(500 * 10**18) == "500"
        for wrong in ("-1", "a", "0.0000000000000000001"):
            with pytest.raises(ConfigError):
                parse_tokens(wrong)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World.start(tmp_path_factory.mktemp("world"), hospitals=2, coordinators=1) as started:
        yield started


@pytest.mark.chain
class TestOnAChain:
    @pytest.fixture
    def shell(self, world: World, capsys: pytest.CaptureFixture[str]) -> Shell:
        return Shell(world.homes[0], capsys)

    def test_status_of_a_member(self, shell: Shell) -> None:
        code, envelope, _ = shell("institution", "status")
        assert code == 0
        assert envelope["data"]["active"] is True
        assert envelope["data"]["seats"] == [{"study": 1, "index": 0, "max_fine": str(100 * 10**18)}]

    def test_money_is_locked_unlocked_and_told(self, shell: Shell) -> None:
        before = shell("stake", "status")[1]["data"]
        assert before["locks"][0]["amount"] == str(100 * 10**18)
        code, envelope, err = shell("stake", "unlock", "5", "--yes")
        assert code == 0, err
        assert envelope["data"]["unbonding"] == str(5 * 10**18)
        assert envelope["data"]["transaction"].startswith("0x")
        after = shell("stake", "status")[1]["data"]
        assert int(before["free"]) - int(after["free"]) == 5 * 10**18

    def test_a_refused_withdrawal_costs_nothing(self, shell: Shell) -> None:
        shell("stake", "unlock", "1", "--yes")
        code, envelope, _ = shell("stake", "withdraw", "--yes")
        assert code == 7
        assert envelope["error"]["evidence"]["error"] == "BondsStillUnbonding"

    def test_dry_run_sends_nothing(self, shell: Shell) -> None:
        before = shell("stake", "status")[1]["data"]["free"]
        code, envelope, err = shell("stake", "unlock", "1", "--dry-run")
        assert code == 0 and envelope["data"]["sent"] is False
        assert "Bonds.unlock" in err and "nothing was sent" in err
        assert shell("stake", "status")[1]["data"]["free"] == before

    def test_without_a_person_nothing_is_confirmed(self, shell: Shell) -> None:
        code, envelope, _ = shell("stake", "unlock", "1")
        assert code == 3
        assert envelope["error"]["code"] == "confirmation_required"

    def test_too_little_stake_names_the_next_command(self, shell: Shell) -> None:
        code, envelope, _ = shell("stake", "deposit", "999999999", "--yes")
        assert code == 3
        assert envelope["error"]["code"] == "insufficient_stake"

    def test_a_wrong_password_is_told(self, shell: Shell, tmp_path: Path) -> None:
        wrong = tmp_path / "wrong"
        wrong.write_text("no")
        code, envelope, _ = shell("stake", "unlock", "1", "--yes", "--password-file", str(wrong))
        assert code == 6
        assert envelope["error"]["code"] == "wrong_password"

    def test_a_wrong_chain_id_is_told(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLLEGIUM_NETWORK_CHAIN_ID", "1")
        assert shell("study", "list")[0] in (2, 3)

    def test_an_unknown_study_is_told(self, shell: Shell) -> None:
        code, envelope, _ = shell("round", "status", "77")
        assert code == 3
        assert envelope["error"]["code"] == "study_unknown"

    def test_study_and_round_are_shown(self, shell: Shell) -> None:
        assert shell("study", "list")[1]["data"]["studies"][0]["members"] == 2
        shown = shell("study", "show", "1")[1]["data"]
        assert shown["title"] == "Breast cancer"
        assert [member["index"] for member in shown["members"]] == [0, 1]
        assert shell("round", "status", "1")[1]["data"]["phase"] == "none"

    def test_joining_twice_changes_nothing(self, shell: Shell) -> None:
        code, envelope, _ = shell("join", "1", "--yes")
        assert code == 0 and envelope["data"] == {"study": 1, "index": 0, "sent": False}

    def test_an_unapproved_task_is_not_run(self, shell: Shell) -> None:
        assert shell("study", "approve-task", str(EXAMPLE), "--withdraw")[0] == 0
        for words in (("train", "dry-run", "1"), ("train", "run", "1")):
            code, envelope, _ = shell(*words)
            assert code == 3
            assert envelope["error"]["code"] == "task_not_approved"
        code, envelope, err = shell("study", "approve-task", str(EXAMPLE), "--yes")
        assert code == 0 and envelope["data"]["approved"]
        assert "class Task" in err

    def test_the_genesis_model_is_pulled_and_verified(self, shell: Shell, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        assert shell("model", "pull", "1", "--output", str(path))[0] == 0
        assert shell("model", "verify", "1", str(path))[0] == 0
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        code, envelope, _ = shell("model", "verify", "1", str(path))
        assert code == 4
        assert envelope["error"]["code"] == "verification_failed"

    @pytest.mark.slow
    def test_doctor_names_what_is_missing(self, shell: Shell) -> None:
        code, envelope, _ = shell("doctor", "--study", "1")
        rows = {row["check"]: row for row in envelope["data"]["checks"]}
        assert code == 0, rows
        assert {"chain", "node key", "confinement of tasks", "study 1", "disk"} <= set(rows)
        shell("study", "approve-task", str(EXAMPLE), "--withdraw")
        code, envelope, _ = shell("doctor", "--study", "1")
        shell("study", "approve-task", str(EXAMPLE), "--yes")
        assert code == 3
        assert "approve-task" in next(row["fix"] for row in envelope["data"]["checks"] if row["check"] == "study 1")

    @pytest.mark.slow
    def test_a_study_is_created_from_a_plan_file(self, shell: Shell, tmp_path: Path) -> None:
        plan = tmp_path / "plan.toml"
        plan.write_text(
            f'[study]\ntitle = "Second"\n[task]\npath = "{EXAMPLE}"\n[rounds]\ncommit_window = 60\nreveal_window = 60\n'
            "certify_window = 60\npropose_window = 60\nchallenge_window = 60\n"
        )
        code, envelope, err = shell("study", "create", str(plan), "--yes")
        assert code == 0, err
        created = envelope["data"]
        assert created["study"] == 2 and created["parameters"] == 513
        assert created["transaction"].startswith("0x")
        assert shell("study", "show", "2")[1]["data"]["title"] == "Second"
        again = shell("study", "validate", str(plan))[1]["data"]
        assert again["plan_hash"] == created["plan_hash"]


@pytest.mark.chain
class TestDevnet:
    def test_up_status_down(self, shell: Shell) -> None:
        code, envelope, _ = shell("devnet", "up")
        assert code == 0
        pid = envelope["data"]["pid"]
        assert shell("devnet", "status")[1]["data"]["running"] is True
        assert shell("devnet", "down")[1]["data"]["stopped"] is True
        assert shell("devnet", "status")[1]["data"]["running"] is False
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        pytest.fail("the chain is still there")
