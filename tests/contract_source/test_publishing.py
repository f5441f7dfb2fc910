"""`contracts verify` against strict doubles of Sourcify, Blockscout and Etherscan."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from collegium.contract_source.release import Release
from collegium.contract_source.targets import find_targets
from tests.contract_source.conftest import Deployed, Shell
from tests.contract_source.doubles import (
    HTML,
    BlockscoutDouble,
    Double,
    EtherscanDouble,
    Reply,
    SourcifyDouble,
)

pytestmark = pytest.mark.chain

Make = Callable[[str], Double]
Starts = Callable[[Double], "Publisher"]
ALL = 7


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of seconds, not of minutes."""
    monkeypatch.setattr("collegium.contract_source.web.TIMEOUT", 1.0)


@pytest.fixture(params=["sourcify", "blockscout", "etherscan"])
def double(request: pytest.FixtureRequest, make: Make) -> Double:
    return make(request.param)


@pytest.fixture
def make(deployed: Deployed, release: Release) -> Iterator[Make]:
    """Starts a double that knows what the deployment's arguments encode to."""
    running: list[AbstractContextManager[None]] = []

    def start(name: str) -> Double:
        kinds = {"sourcify": SourcifyDouble, "blockscout": BlockscoutDouble, "etherscan": EtherscanDouble}
        double = kinds[name](release, deployed.deployment.chain_id)
        targets = find_targets(deployed.deployment, release)
        double.encoded = {each.name: each.encoded.hex() for each in targets}  # type: ignore[attr-defined]
        server = double.serve()
        server.__enter__()
        running.append(server)
        return double

    yield start
    for server in running:
        server.__exit__(None, None, None)


class Publisher:
    """`contracts verify` at one double."""

    def __init__(self, shell: Shell, deployed: Deployed, double: Double, key: Path) -> None:
        self.shell, self.deployed, self.double, self.key = shell, deployed, double, key

    def __call__(self, *words: str, timeout: float = 20) -> tuple[int, Any, str]:
        name = type(self.double).__name__.removesuffix("Double").lower()
        url = self.double.url + ("/v2/api" if name == "etherscan" else "")
        more = ["--api-key-file", self.key] if name == "etherscan" else []
        return self.shell(
            "contracts", "verify", f"--{name}", url, "--deployment", self.deployed.file, "--timeout", str(timeout),
            *more, *words,
        )  # fmt: skip


@pytest.fixture
def publisher(
    shell: Shell, deployed: Deployed, tmp_path: Path
) -> Starts:
    key = tmp_path / "key"
    key.write_text(EtherscanDouble.key + "\n")
    return lambda double: Publisher(shell, deployed, double, key)


def outcome(envelope: Any, contract: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in envelope["data"]["outcomes"] if e["contract"] == contract)
    return found


class TestEveryExplorer:
    def test_all_contracts_are_published_and_again_nothing_is_sent(
        self, double: Double, publisher: Starts
    ) -> None:
        publish = publisher(double)
        code, envelope, err = publish()
        assert code == 0, (envelope["error"], double.problems)
        assert [each["status"] for each in envelope["data"]["outcomes"]] == ["verified"] * ALL
        assert double.count("submit") == ALL and not double.problems
        assert "accepted by" in err
        code, envelope, _ = publish()
        assert code == 0 and double.count("submit") == ALL
        assert all(each["already_verified"] for each in envelope["data"]["outcomes"])
        assert json.loads(Path(envelope["data"]["state"]).read_text())["submissions"] == {}

    def test_one_contract_alone(self, double: Double, publisher: Starts) -> None:
        code, envelope, _ = publisher(double)("--contract", "Studies")
        assert code == 0 and [each["contract"] for each in envelope["data"]["outcomes"]] == ["Studies"]

    def test_what_is_accepted_and_not_decided_is_asked_for_on_the_next_run(
        self, double: Double, publisher: Starts
    ) -> None:
        double.patience = -1
        publish = publisher(double)
        code, envelope, _ = publish("--contract", "Referee", "--contract", "Bonds", timeout=0.5)
        assert code == 8 and envelope["error"]["code"] == "explorer_pending"
        assert {each["status"] for each in envelope["data"]["outcomes"]} == {"pending"}
        kept = json.loads(Path(envelope["data"]["state"]).read_text())["submissions"]
        assert len(kept) == 2
        double.pending = {ticket: (address, 1) for ticket, (address, _) in double.pending.items()}
        sent = double.count("submit")
        code, envelope, err = publish("--contract", "Referee", "--contract", "Bonds")
        assert code == 0, envelope["error"]
        if not isinstance(double, BlockscoutDouble):
            assert double.count("submit") == sent == 2 and "earlier submission" in err

    def test_a_page_instead_of_json_is_told_without_its_escape_sequences(
        self, double: Double, publisher: Starts
    ) -> None:
        double.script["lookup"] = [Reply(200, HTML, effect=False)] * 20
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 5 and envelope["error"]["code"] == "explorer_unreachable"
        assert "text/html instead of JSON" in envelope["error"]["message"] and "\x1b" not in json.dumps(envelope)

    def test_a_redirect_is_not_followed(self, double: Double, publisher: Starts) -> None:
        moved = Reply(301, {}, headers={"Location": "https://elsewhere.example/"}, effect=False)
        double.script["submit"] = [moved]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 5 and "elsewhere.example" in envelope["error"]["message"]

    def test_a_busy_server_is_asked_again(self, double: Double, publisher: Starts) -> None:
        busy = Reply(429, {"message": "slow down"}, headers={"Retry-After": "0.1"}, effect=False)
        double.script["submit"] = [busy, Reply(503, HTML, effect=False)]
        double.script["lookup"] = [busy]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 0, envelope["error"]
        assert double.count("submit") == 3

    def test_an_answer_that_is_lost_after_acceptance(
        self, double: Double, publisher: Starts
    ) -> None:
        double.script["submit"] = [Reply(202, {}, hang=1.6)]
        code, envelope, _ = publisher(double)("--contract", "Members")
        assert code == 0, envelope["error"]
        assert not double.problems and outcome(envelope, "Members")["status"] == "verified"

    def test_a_server_that_is_not_there(
        self, shell: Shell, deployed: Deployed, publisher: Starts, double: Double,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("collegium.contract_source.web.RETRY_FOR", 0.2)
        double.url = "http://127.0.0.1:9"
        code, envelope, _ = publisher(double)("--contract", "Members")
        assert code == 5 and envelope["error"]["retryable"]
        assert EtherscanDouble.key not in json.dumps(envelope)

    def test_a_damaged_state_file_is_told(
        self, double: Double, publisher: Starts, tmp_path: Path
    ) -> None:
        state = tmp_path / "state.json"
        state.write_text("{")
        code, envelope, _ = publisher(double)("--contract", "Referee", "--state", str(state))
        assert code != 0 and "no record of submissions" in envelope["error"]["message"]
        assert state.read_text() == "{" and double.count("submit") == 0


    def test_an_answer_without_an_end(self, double: Double, publisher: Starts) -> None:
        double.script["lookup"] = [Reply(200, ("application/json", b" " * (9 << 20)), effect=False)]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 5 and "no end" in envelope["error"]["message"]


    @pytest.mark.parametrize(
        ("explorer", "status", "content"),
        [
            ("sourcify", 409, {"customCode": "already_verified", "message": "x"}),
            ("blockscout", 409, {"message": "Already verified"}),
            ("blockscout", 200, {"message": "Already verified"}),
            ("etherscan", 200, {"status": "0", "message": "NOTOK", "result": "Contract source code already verified"}),
        ],
    )
    def test_verified_by_somebody_else_meanwhile_is_success(
        self, make: Make, publisher: Any, explorer: str, status: int, content: dict[str, str]
    ) -> None:
        double = make(explorer)
        double.script["submit"] = [Reply(status, content, effect=False)]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 0, envelope["error"]
        assert outcome(envelope, "Referee")["already_verified"] and double.count("submit") == 1


class TestSourcify:
    def test_a_refusal_shows_the_apis_reason(self, make: Make, publisher: Any) -> None:
        double = make("sourcify")
        double.script["submit"] = [
            Reply(404, {"customCode": "unsupported_chain", "message": "Chain 31337 not found"}, effect=False)
        ]
        code, envelope, _ = publisher(double)("--contract", "Referee", "--contract", "Members")
        assert code == 1 and "unsupported_chain: Chain 31337 not found" in envelope["error"]["message"]
        assert outcome(envelope, "Referee")["status"] == "refused"
        assert outcome(envelope, "Members")["status"] == "verified"

    def test_a_job_that_fails_shows_why(self, make: Make, publisher: Any) -> None:
        double = make("sourcify")
        error = {"customCode": "no_match", "message": "The onchain and recompiled bytecodes don't match."}
        double.script["poll"] = [Reply(200, {"isJobCompleted": True, "contract": {"match": None}, "error": error})]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 1 and "bytecodes don't match" in envelope["error"]["message"]

    def test_a_forgotten_ticket_is_replaced(self, make: Make, publisher: Any) -> None:
        double = make("sourcify")
        double.script["poll"] = [Reply(404, {"customCode": "job_not_found", "message": "gone"}, effect=False)]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 0, envelope["error"]

    def test_a_partial_match_is_handed_in_again_and_may_stay_partial(
        self, make: Make, publisher: Any
    ) -> None:
        double = make("sourcify")
        partial = {"match": "match", "runtimeMatch": "match", "creationMatch": None}
        named = {**partial, "compilation": {"fullyQualifiedName": "x.sol:\x1b[31mOther"}}
        double.script["lookup"] = [Reply(200, named, effect=False)] * 9
        error = {"customCode": "already_verified", "message": "did not yield a better match"}
        double.script["poll"] = [Reply(200, {"isJobCompleted": True, "contract": {}, "error": error}, effect=False)]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 0 and outcome(envelope, "Referee")["match"] == "partial"
        assert "published there as x.sol:" in envelope["warnings"][0] and "\x1b" not in envelope["warnings"][0]


class TestBlockscout:
    def test_a_refusal_shows_the_apis_reason(self, make: Make, publisher: Any) -> None:
        double = make("blockscout")
        double.script["submit"] = [Reply(422, {"message": "Invalid parameter(s)", "errors": ["x"]}, effect=False)]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 1 and "HTTP 422 Invalid parameter(s)" in envelope["error"]["message"]

    def test_a_contract_that_is_not_indexed_yet_is_waited_for(self, make: Make, publisher: Any) -> None:
        double = make("blockscout")
        double.script["submit"] = [Reply(404, {"message": "Address is not a smart-contract"}, effect=False)] * 2
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 0, envelope["error"]

    def test_an_unknown_chain_needs_an_address(self, shell: Shell, deployed: Deployed) -> None:
        code, envelope, _ = shell("contracts", "verify", "--blockscout", "--deployment", deployed.file)
        assert code == 2 and "chain 31337" in envelope["error"]["message"]


class TestEtherscan:
    def test_rate_limits_with_status_200_are_waited_for(self, make: Make, publisher: Any) -> None:
        double = make("etherscan")
        said = "Max calls per sec rate limit reached (3/sec)"
        limit = Reply(200, {"status": "0", "message": "NOTOK", "result": said}, effect=False)
        for kind in ("lookup", "submit", "poll"):
            double.script[kind] = [limit]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 0, envelope["error"]

    def test_a_contract_that_is_not_indexed_yet_is_waited_for(self, make: Make, publisher: Any) -> None:
        double = make("etherscan")
        result = "Unable to locate ContractCode at 0x00"
        double.script["submit"] = [Reply(200, {"status": "0", "message": "NOTOK", "result": result}, effect=False)]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 0, envelope["error"]

    def test_a_failure_shows_the_reason(self, make: Make, publisher: Any) -> None:
        double = make("etherscan")
        result = "Fail - Unable to verify. Compiled contract deployment bytecode does NOT match"
        double.script["poll"] = [Reply(200, {"status": "0", "message": "NOTOK", "result": result}, effect=False)]
        code, envelope, _ = publisher(double)("--contract", "Referee")
        assert code == 1 and "does NOT match" in envelope["error"]["message"]

    def test_a_wrong_key_is_told_and_never_shown(self, make: Make, publisher: Any) -> None:
        double = make("etherscan")
        publish = publisher(double)
        publish.key.write_text("WRONGKEY99")
        code, envelope, err = publish("--contract", "Referee", "--debug")
        assert code == 6 and envelope["error"]["code"] == "explorer_key"
        assert "WRONGKEY99" not in json.dumps(envelope) + err

    def test_the_key_comes_from_the_environment_or_a_file(
        self, make: Make, shell: Shell, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        double = make("etherscan")
        words = ("contracts", "verify", "--etherscan", double.url + "/v2/api", "--deployment", deployed.file,
                 "--contract", "Referee")  # fmt: skip
        code, envelope, _ = shell(*words)
        assert code == 6 and "ETHERSCAN_API_KEY" in envelope["error"]["hint"]
        monkeypatch.setenv("ETHERSCAN_API_KEY", EtherscanDouble.key)
        assert shell(*words)[0] == 0

    def test_the_key_does_not_travel_in_the_clear(self, shell: Shell, deployed: Deployed, tmp_path: Path) -> None:
        key = tmp_path / "key"
        key.write_text("KEY1")
        code, envelope, _ = shell(
            "contracts", "verify", "--etherscan", "http://explorer.example/api", "--api-key-file", key,
            "--deployment", deployed.file,
        )  # fmt: skip
        assert code == 2 and "in the clear" in envelope["error"]["message"]

    def test_a_lost_connection_does_not_show_the_key(
        self, make: Make, publisher: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("collegium.contract_source.web.RETRY_FOR", 0.2)
        double = make("etherscan")
        double.script["lookup"] = [Reply(200, {}, hang=2)] * 3
        code, envelope, err = publisher(double)("--contract", "Referee", "--debug")
        assert code == 5
        assert EtherscanDouble.key not in json.dumps(envelope) + err


def test_a_home_notes_where_it_went(make: Make, shell: Shell, deployed: Deployed) -> None:
    """The egress log of a hospital's IT knows the explorer before the first byte leaves."""
    double = make("sourcify")
    assert shell("init", "--deployment", deployed.file, "--rpc", deployed.devnet.url)[0] == 0
    code, envelope, _ = shell("contracts", "verify", "--sourcify", double.url, "--contract", "Referee")
    assert code == 0, envelope["error"]
    assert double.url in (shell.home / "state" / "egress.jsonl").read_text()


def test_several_explorers_in_one_command(
    make: Make, shell: Shell, deployed: Deployed
) -> None:
    sourcify, blockscout = make("sourcify"), make("blockscout")
    sourcify.script["submit"] = [Reply(400, {"customCode": "invalid_parameter", "message": "no"}, effect=False)] * 2
    code, envelope, _ = shell(
        "contracts", "verify", "--sourcify", sourcify.url, "--blockscout", blockscout.url,
        "--deployment", deployed.file, "--contract", "Members",
    )  # fmt: skip
    assert code == 1
    assert [each["status"] for each in envelope["data"]["outcomes"]] == ["refused", "verified"]
