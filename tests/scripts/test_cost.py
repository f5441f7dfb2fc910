"""`collegium cost`: the estimate beside what a federation on a chain really spends."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gas_table
from collegium.chain.abi import interface
from collegium.chain.rpc import to_int
from collegium.costs import TOLERANCE, Estimate, GasTable, estimate, interpolate
from collegium.costs import Federation as Planned
from collegium.errors import UsageError
from collegium_client.cli.app import run
from scripts.setup.paths import ROOT
from tests.support.federation import Federation
from tests.support.rounds import Lie

HOSPITALS = 6


@pytest.fixture(scope="module")
def table() -> GasTable:
    return GasTable.load()


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A size that was not measured: it lies between two that were."""
    with Federation.start(tmp_path_factory.mktemp("cost"), members=HOSPITALS) as federation:
        yield federation


def near(estimated: float, measured: float) -> bool:
    return abs(estimated - measured) <= TOLERANCE * measured


def spent(federation: Federation) -> dict[str, list[int]]:
    """Gas of every transaction so far, by function; creations by contract."""
    created = {each.transaction: f"create {name}" for name, each in federation.deployment.contracts.items()}
    head = federation.chain.rpc.header("latest")
    assert head is not None
    found: dict[str, list[int]] = {}
    for number in range(1, head.number + 1):
        for each in federation.chain.rpc.request("eth_getBlockByNumber", hex(number), True)["transactions"]:
            gas = to_int(federation.chain.rpc.request("eth_getTransactionReceipt", each["hash"])["gasUsed"])
            name = created.get(each["hash"])
            if name is None:
                contract = federation.deployment.name_of(each["to"])
                assert contract is not None
                name = interface(contract).by_selector[bytes.fromhex(each["input"][2:10])].name
            found.setdefault(name, []).append(gas)
    return found


@pytest.mark.chain
class TestAgainstAChain:
    def test_deployment_and_joining(self, federation: Federation, table: GasTable) -> None:
        measured = spent(federation)
        for name, gas in measured.items():
            if name.startswith("create "):
                assert near(table.once[name], gas[0]), name
        assert near(table.once["connect the contracts"], sum(measured["connect"]))
        assert near(table.once["create a study"], measured["createStudy"][0])
        # The first to enlist pays for the list; later ones pay less, so the table holds the first.
        assert near(table.once["enlist"], measured["enlist"][0]) and measured["enlist"][1] <= table.once["enlist"]
        for name, function in (("join a study", "join"), ("register a node key", "registerNodeKey"),
                               ("admit an institution", "admit")):  # fmt: skip
            assert near(table.once[name], sum(measured[function][1:]) / len(measured[function][1:])), name

    def test_a_relayed_round_and_each_of_its_transactions(self, federation: Federation, table: GasTable) -> None:
        first = federation.play_round()
        assert near(table.act("open", HOSPITALS), first.sent[0].gas_used)
        federation.play_round(open_next=True)
        played = federation.play_round(open_next=True)
        plan = estimate(table, Planned(HOSPITALS, rounds=1))
        names = {
            "commitUpdates": "commit in a batch of 6", "revealUpdates": "reveal in a batch of 6",
            "certify": "certify", "propose": "propose", "conclude": "endorse, finalize, open the next",
        }  # fmt: skip
        # The round's own opening was paid for by the conclusion of the one before.
        sent = {names[each.function]: each.gas_used for each in played.sent if each.function in names}
        estimated = {item.what: item.gas for item in plan.items if item.group == "rounds"}
        assert set(sent) == set(estimated)
        for what, gas in sent.items():
            assert near(estimated[what], gas), what
        assert near(plan.round_gas, sum(sent.values()))

    def test_a_refutation(self, federation: Federation, table: GasTable) -> None:
        played = federation.play_round(lie=Lie.MEAN, open_next=True)
        (refuted,) = [sent for sent in played.sent if sent.function == "refute"]
        assert near(table.refute_mean(HOSPITALS, federation.table.count), refuted.gas_used)

    def test_each_for_itself(self, federation: Federation, table: GasTable) -> None:
        federation.play_round(open_next=True)
        alone = federation.commit(batched=False)
        plan = estimate(table, Planned(HOSPITALS, rounds=1, batch=1))
        (item,) = [each for each in plan.items if each.what.startswith("commit")]
        assert item.payer == "hospital" and near(item.total, sum(sent.gas_used for sent in alone))

    def test_the_networks_price(
        self, federation: Federation, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        url = federation.devnet.url
        code, data = cost(capsys, tmp_path, "--hospitals", "4", "--rpc", url)
        price = data["gas_price_wei"]
        base = federation.chain.rpc.header("latest")
        assert code == 0 and base is not None and base.base_fee is not None
        assert price["low"] <= price["typical"] and base.base_fee // 2 <= price["typical"]
        assert int(data["cost_wei"]["typical"]) == data["gas"]["total"] * price["typical"]


class TestEstimate:
    def test_more_of_anything_costs_more(self, table: GasTable) -> None:
        base = estimate(table, Planned(10, rounds=5, refutations=1)).gas()
        for more in (Planned(11, rounds=5, refutations=1), Planned(10, rounds=6, refutations=1),
                     Planned(10, rounds=5, refutations=2), Planned(10, rounds=5, refutations=1, aggregators=3),
                     Planned(10, rounds=5, refutations=1, parameters=10**8)):  # fmt: skip
            assert estimate(table, more).gas() > base

    def test_smaller_batches_cost_more(self, table: GasTable) -> None:
        sums = [estimate(table, Planned(12, rounds=1, batch=size)).round_gas for size in (12, 5, 3, 1)]
        assert sums == sorted(sums) and sums[0] < sums[-1]

    def test_a_remainder_is_a_batch_of_its_own(self, table: GasTable) -> None:
        plan = estimate(table, Planned(10, rounds=3, batch=4))
        batches = [(item.what, item.times) for item in plan.items if item.what.startswith("commit")]
        assert batches == [("commit in a batch of 4", 6), ("commit in a batch of 2", 3)]

    def test_beyond_what_was_measured_it_warns(self, table: GasTable) -> None:
        assert not estimate(table, Planned(32)).warnings
        assert "up to 32 hospitals" in estimate(table, Planned(100)).warnings[0]

    def test_payers_and_groups_add_up(self, table: GasTable) -> None:
        plan: Estimate = estimate(table, Planned(7, rounds=4, refutations=2))
        payers = {item.payer for item in plan.items}
        groups = {item.group for item in plan.items}
        assert sum(plan.gas(payer=payer) for payer in payers) == sum(plan.gas(group) for group in groups) == plan.gas()

    @pytest.mark.parametrize(("x", "y"), [(0, 10), (2, 20), (3, 25), (6, 40), (8, 40)])
    def test_interpolation(self, x: float, y: float) -> None:
        assert interpolate([(6, 40), (2, 20), (10, 40)], x) == y

    @pytest.mark.parametrize("wrong", [{"hospitals": 1}, {"hospitals": 200}, {"hospitals": 4, "batch": 0}])
    def test_impossible_federations_are_told(self, wrong: dict[str, int]) -> None:
        with pytest.raises(UsageError, match="is not between"):
            Planned(**wrong)


class TestTable:
    def test_the_packaged_table_follows_from_figures(self, tmp_path: Path, table: GasTable) -> None:
        figures = {f"{title}, n={n}": float(gas / n if "per hospital" in title else gas)
                   for name, title in gas_table.ROUND.items() for n, gas in table.round[name]}  # fmt: skip
        figures |= {title: float(table.once[name]) for name, title in gas_table.ONCE.items()}
        figures |= {name: float(gas) for name, gas in table.once.items() if name.startswith("create ")}
        figures["commit alone, n=4"] = float(table.once["commit alone"])
        figures |= {f"R1 mean, n={n}, {count // 10**6}M parameters": float(gas) for n, count, gas in table.mean}
        gas_table.write(figures, tmp_path / "gas.json")
        assert json.loads((tmp_path / "gas.json").read_text()) == json.loads(gas_table.TABLE.read_text())

    def test_a_figure_that_was_not_taken_is_told(self) -> None:
        with pytest.raises(KeyError, match="referee"):
            gas_table.build({})


def cost(capsys: pytest.CaptureFixture[str], home: Path, *words: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = run(["cost", *words, "--home", str(home), "--json"])
    envelope = json.loads(capsys.readouterr().out)
    return code, envelope["data"] if code == 0 else envelope["error"]


class TestCommand:
    def test_with_a_given_price_no_network_is_asked(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        code, data = cost(capsys, tmp_path, "--hospitals", "10", "--gas-price", "1.5", "--rpc", "http://127.0.0.1:9")
        assert code == 0 and data["gas_price_wei"]["typical"] == 1_500_000_000
        assert int(data["cost_wei"]["typical"]) == data["gas"]["total"] * 1_500_000_000
        assert data["tolerance"] == TOLERANCE

    def test_people_see_money_in_their_currency_and_the_tolerance(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        words = ["--hospitals", "4", "--gas-price", "10", "--rate", "2000", "--currency", "EUR"]
        assert run(["cost", *words, "--home", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        assert "EUR" in out and "ETH" in out and "differ by 10%" in out and "per hospital" in out

    def test_the_command_of_the_operators_page(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
        (line,) = [each for each in page.splitlines() if each.startswith("collegium cost ")]
        assert run([*shlex.split(line)[1:], "--home", str(tmp_path)]) == 0
        assert capsys.readouterr().out.startswith("10 hospitals, 50 rounds, at 1.5 gwei")

    @pytest.mark.parametrize("words", [("--gas-price", "cheap"), ("--rate", "-1"), ("--gas-price", "nan")])
    def test_nonsense_is_told(self, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, str]) -> None:
        extra = () if "--gas-price" in words else ("--gas-price", "1")
        code, error = cost(capsys, tmp_path, "--hospitals", "4", *words, *extra)
        assert code == 2 and "is no amount" in error["message"]

    def test_without_a_network_the_price_must_be_given(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLLEGIUM_NETWORK_RETRY_FOR", "0.1")
        code, error = cost(capsys, tmp_path, "--hospitals", "4", "--rpc", "http://127.0.0.1:9")
        assert code == 5 and error["code"] == "chain_unreachable"
