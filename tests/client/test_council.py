"""k of n council members sign in different places; a stranger carries it."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.chain import LocalSigner, keystore
from collegium.chain.devnet import Devnet
from collegium.chain.rpc import Rpc
from collegium.council import Council, Decision, to_compact
from collegium.errors import PreconditionError, SignatureError
from collegium.messages import Domain, recover
from collegium.records import Admit
from collegium_client.cli.app import run
from scripts.setup import paths
from tests.flows.commands import Operator

PASSWORD = "correct horse"
APPLICANT = "0x00000000000000000000000000000000000000A1"
DOMAIN = Domain(31337, "0x00000000000000000000000000000000000000b2")
KEYS = [LocalSigner(bytes(31) + bytes([at])) for at in (1, 2, 3)]

Shell = Callable[..., tuple[int, dict[str, Any]]]


def decision(name: str = "Charité") -> Decision:
    return Decision(Admit(APPLICANT, bytes(32), name, 0, 2_000_000_000), DOMAIN)


def signed(by: LocalSigner, over: Decision | None = None) -> Decision:
    over = over or decision()
    return over.signed(by.sign_digest(over.digest))


class TestFile:
    def test_a_file_keeps_everything(self, tmp_path: Path) -> None:
        made = signed(KEYS[1], signed(KEYS[0]))
        made.save(tmp_path / "a.json")
        assert Decision.load(tmp_path / "a.json") == made
        assert set(made.signatures) == {KEYS[0].address, KEYS[1].address}

    def test_the_council_is_listed_but_not_signed(self, tmp_path: Path) -> None:
        listed = Council(tuple(key.address for key in KEYS), 2)
        made = dataclasses.replace(signed(KEYS[0]), council=listed)
        made.save(tmp_path / "a.json")
        assert Decision.load(tmp_path / "a.json") == made
        assert made.digest == decision().digest
        assert decision().merged([made]).council == listed
        assert "council" not in decision().to_json()

    @pytest.mark.parametrize(
        "council",
        [None, {}, {"members": [APPLICANT], "threshold": 2}, {"members": [APPLICANT], "threshold": 0},
         {"members": [APPLICANT], "threshold": True}, {"members": APPLICANT, "threshold": 1},
         {"members": ["x"], "threshold": 1}],
    )  # fmt: skip
    def test_a_council_that_is_none_is_refused(self, tmp_path: Path, council: Any) -> None:
        (tmp_path / "a.json").write_text(json.dumps(decision().to_json() | {"council": council}))
        with pytest.raises(PreconditionError, match="no decision of a council"):
            Decision.load(tmp_path / "a.json")

    def test_the_deadline_is_shown_in_words(self) -> None:
        words = dict(decision().words(now=2_000_000_000 - 7 * 86_400 + 60))
        assert words["deadline"] == "2033-05-18 03:33 UTC (in 6 d 23 h)"
        assert dict(decision().words(now=2_000_000_090))["deadline"] == "2033-05-18 03:33 UTC (1 min 30 s ago)"

    def test_copies_come_together(self) -> None:
        assert len(signed(KEYS[0]).merged([signed(KEYS[1]), signed(KEYS[2])]).signatures) == 3
        with pytest.raises(PreconditionError, match="different decisions"):
            signed(KEYS[0]).merged([signed(KEYS[1], decision("Other"))])

    @pytest.mark.parametrize(
        "change",
        [
            lambda c: c["message"].update(name="Mallory"),
            lambda c: c["message"].update(nonce=1),
            lambda c: c["message"].update(more=1),
            lambda c: c["message"].pop("deadline"),
            lambda c: c.update(chain_id=1),
            lambda c: c.update(members=APPLICANT),
            lambda c: c.update(decision="Join"),
            lambda c: c.update(schema="collegium.council/2"),
            lambda c: c["signatures"].update({KEYS[2].address: next(iter(c["signatures"].values()))}),
            lambda c: c["signatures"].update({KEYS[0].address: "0x12"}),
            lambda c: c.update(signatures=[1]),
            lambda c: c["message"].update(deadline="soon"),
        ],
    )
    def test_a_changed_file_is_refused(self, tmp_path: Path, change: Callable[[Any], Any]) -> None:
        content = signed(KEYS[0]).to_json()
        change(content)
        (tmp_path / "a.json").write_text(json.dumps(content))
        with pytest.raises(PreconditionError, match="no decision of a council"):
            Decision.load(tmp_path / "a.json")

    def test_signatures_of_other_wallets(self) -> None:
        compact = KEYS[0].sign_digest(decision().digest)
        r, vs = compact[:32], int.from_bytes(compact[32:], "big")
        long = r + (vs & ((1 << 255) - 1)).to_bytes(32, "big") + bytes([27 + (vs >> 255)])
        assert to_compact(long) == compact == to_compact(compact)
        for wrong in (long[:-1] + b"\x05", b"", long + b"\x00"):
            with pytest.raises(SignatureError):
                to_compact(wrong)

    @pytest.mark.chain
    def test_cast_signs_the_typed_data(self, tmp_path: Path) -> None:
        file = tmp_path / "typed.json"
        file.write_text(json.dumps(decision().typed_data()))
        done = subprocess.run(
            [str(paths.tool("cast")), "wallet", "sign", "--private-key", "0x" + "00" * 31 + "01",
             "--data", "--from-file", str(file)], capture_output=True, text=True, check=True,
        )  # fmt: skip
        signature = to_compact(bytes.fromhex(done.stdout.strip()[2:]))
        assert recover(decision().digest, signature) == KEYS[0].address


@pytest.fixture(scope="module")
def devnet() -> Iterator[Devnet]:
    with Devnet.start() as devnet:
        yield devnet


@pytest.fixture(scope="module")
def operator(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(devnet, tmp_path_factory.mktemp("operator"))


@pytest.fixture
def shell(
    devnet: Devnet,
    operator: Operator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    """Runs commands in a home whose keys `one`, `two`, `three` are the council's and `payer` has gas."""
    home = tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.setenv("COLLEGIUM_PASSWORD_FILE", str(tmp_path / "password"))

    def call(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = run([*(str(each) for each in arguments), "--home", str(home), "--json"])
        return code, json.loads(capsys.readouterr().out)

    settings = ("--rpc-url", devnet.url, "--chain-id", "31337", "--deployment", str(operator.deployment_file))
    assert call("init", *settings)[0] == 0
    for at, alias in enumerate(("one", "two", "three", "stranger", "payer")):
        keystore.save(home / "keystore" / f"{alias}.json", LocalSigner(devnet.key(2 + at)), PASSWORD, light=True)
    return call


@pytest.mark.chain
class TestCommands:
    def test_two_of_three_admit(self, shell: Shell, operator: Operator, tmp_path: Path) -> None:
        code, envelope = shell("council", "admit", f"{APPLICANT}=Charité \x1b[2J", "-o", "a.json")
        assert (code, envelope["data"]["threshold"]) == (0, 2)
        assert shell("council", "admit", f"{APPLICANT}=x", "-o", "a.json")[0] == 3
        (tmp_path / "b.json").write_bytes((tmp_path / "a.json").read_bytes())
        assert shell("council", "sign", "a.json", "--key", "one")[0] == 3  # nobody confirmed
        assert shell("council", "sign", "a.json", "--key", "one", "--yes")[0] == 0

        code, envelope = shell("council", "submit", "a.json", "--as", "payer", "--yes")
        assert code == 3 and "1 of 2" in envelope["error"]["message"]
        code, envelope = shell("council", "sign", "b.json", "--key", "stranger", "--yes")
        assert (code, envelope["error"]["code"]) == (6, "unauthorized")
        (tmp_path / "c.json").write_bytes((tmp_path / "b.json").read_bytes())
        # Whoever takes the list out of the file signs, and is not counted.
        unlisted = json.loads((tmp_path / "b.json").read_text())
        del unlisted["council"]
        (tmp_path / "b.json").write_text(json.dumps(unlisted))
        assert shell("council", "sign", "b.json", "--key", "stranger", "--yes")[0] == 0
        attached = json.loads((tmp_path / "b.json").read_text())["signatures"].popitem()[1]
        assert shell("council", "sign", "c.json", "--signature", attached)[0] == 6
        code, envelope = shell("council", "submit", "a.json", "b.json", "--as", "payer", "--yes")
        assert code == 3 and "1 of 2" in envelope["error"]["message"]

        third = tmp_path / "home" / "keystore" / "three.json"
        assert shell("council", "sign", "c.json", "--key", third, "--yes")[0] == 0
        code, envelope = shell("council", "submit", "a.json", "b.json", "c.json", "--as", "payer", "--yes")
        assert code == 0, envelope
        assert any("not in the council" in warning for warning in envelope["warnings"])
        assert operator.chain.call("Members", "isActive", APPLICANT)
        # The nonce is used up: the same signatures admit nobody twice.
        assert shell("council", "submit", "a.json", "c.json", "--as", "payer", "--yes")[0] == 7

    def test_show_says_how_many_and_who(self, shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        _, envelope = shell("council", "suspend", APPLICANT, "-o", "w.json")
        members = envelope["data"]["council"]["members"]
        assert shell("council", "sign", "w.json", "--key", "one", "--yes")[0] == 0
        capsys.readouterr()
        assert run(["council", "show", "w.json", "--home", str(tmp_path / "home")]) == 0
        shown = capsys.readouterr().out
        assert "1 of 2 needed" in shown and all(member in shown for member in members)
        assert "UTC (in 6 d 23 h)" in shown or "UTC (in 7 d)" in shown

    def test_a_past_deadline_is_not_signed(self, shell: Shell, tmp_path: Path) -> None:
        old = Decision(Admit(APPLICANT, bytes(32), "x", 0, int(time.time()) - 90), DOMAIN)
        old.save(tmp_path / "old.json")
        code, envelope = shell("council", "sign", "old.json", "--key", "one", "--yes")
        assert (code, envelope["error"]["code"]) == (3, "deadline_passed")
        assert "UTC" in envelope["error"]["message"]
        assert Decision.load(tmp_path / "old.json") == old

    def test_the_missing_key_is_answered_with_those_at_hand(self, shell: Shell) -> None:
        assert shell("council", "suspend", APPLICANT, "-o", "k.json")[0] == 0
        sponsor = (("study", "pause", "1"), ("study", "extend", "1", "--by", "1d"))
        for command in (("council", "submit", "k.json"), *sponsor):
            code, envelope = shell(*command, "--yes")
            assert code == 6, envelope
            assert "--as KEY" in envelope["error"]["hint"] and "payer" in envelope["error"]["hint"]

    def test_signing_needs_no_network(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        assert shell("council", "suspend", APPLICANT, "-o", "s.json")[0] == 0

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a connection was opened")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        assert shell("council", "show", "s.json")[0] == 0
        assert shell("council", "show", "s.json", "--typed-data")[1]["data"]["primaryType"] == "Suspend"
        assert shell("council", "sign", "s.json", "--key", "two", "--yes")[0] == 0

    def test_suspended_and_lifted(self, shell: Shell, operator: Operator) -> None:
        operator.admit("0x00000000000000000000000000000000000000A7", "Seven")
        for options, active in (((), False), (("--lift",), True)):
            file = f"s{len(options)}.json"
            command = ("council", "suspend", "0x00000000000000000000000000000000000000A7", *options, "-o", file)
            assert shell(*command)[0] == 0
            for alias in ("one", "three"):
                assert shell("council", "sign", file, "--key", alias, "--yes")[0] == 0
            assert shell("council", "submit", file, "--as", "payer", "--yes")[0] == 0
            assert operator.chain.call("Members", "isActive", "0x00000000000000000000000000000000000000A7") is active

    def test_expired_signatures(self, shell: Shell, devnet: Devnet) -> None:
        assert shell("council", "allow-referee", APPLICANT, "--valid", "30m", "-o", "r.json")[0] == 0
        for alias in ("one", "two"):
            shell("council", "sign", "r.json", "--key", alias, "--yes")
        Rpc(devnet.url).request("evm_increaseTime", 3600)
        Rpc(devnet.url).request("evm_mine")
        code, envelope = shell("council", "submit", "r.json", "--as", "payer", "--yes")
        assert code == 3 and "good until" in envelope["error"]["message"] and "UTC" in envelope["error"]["message"]

    @pytest.mark.parametrize("valid", ["", "7", "-1d", "1w", "0h", "1.5d"])
    def test_durations(self, shell: Shell, valid: str) -> None:
        assert shell("council", "suspend", APPLICANT, "--valid", valid)[0] == 2
