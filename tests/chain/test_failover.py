"""Several chain nodes read as one: whoever answers is asked, nobody of another chain, and never back in time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from collegium.chain import Chain, Indexer, NetworkSettings, Outbox, Rpc, intents
from collegium.chain import endpoint as module
from collegium.chain.devnet import Devnet
from collegium.chain.endpoint import shown_url
from collegium.errors import ChainDisagreementError, ChainIdMismatchError, ChainUnreachableError, ConfigError
from tests.support.provider import Provider

from .test_indexer import FRIEND, amounts, pay
from .worlds import World

pytestmark = pytest.mark.chain


@pytest.fixture
def providers(world: World) -> Iterator[list[Provider]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Provider(world.devnet.url, seed=at)) for at in range(3)]


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed endpoint is tried again soon."""
    monkeypatch.setattr(module, "AVOID", (0.2, 1.0))


def rpc_of(providers: list[Provider], **options: float) -> Rpc:
    return Rpc([provider.url for provider in providers], **{"retry_for": 5.0, **options})  # type: ignore[arg-type]


class TestFailover:
    @pytest.mark.parametrize(
        "how", [{"down": True}, {"status": 503}, {"status": 401}, {"throttle": 1.0}, {"drop": 1.0}]
    )
    def test_next_one_answers_at_once(self, providers: list[Provider], how: dict[str, object]) -> None:
        rpc = rpc_of(providers)
        rpc.check_chain(31337)
        for name, value in how.items():
            setattr(providers[0], name, value)
        started = time.monotonic()
        assert int(rpc.request("eth_chainId"), 16) == 31337
        assert time.monotonic() - started < 1
        assert rpc.url == providers[1].url

    def test_first_one_is_asked_again_once_it_is_back(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers)
        rpc.check_chain(31337)
        providers[0].down = True
        rpc.request("eth_chainId")
        providers[0].down = False
        time.sleep(0.25)
        rpc.request("eth_chainId")
        assert rpc.url == providers[0].url

    def test_nobody_left_is_an_error_that_names_them(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers, retry_for=0.5)
        for provider in providers:
            provider.down = True
        with pytest.raises(ChainUnreachableError, match="None of 3 chain nodes") as caught:
            rpc.request("eth_chainId")
        assert all(provider.url in caught.value.url for provider in providers)

    def test_all_that_refuse_are_not_asked_for_long(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers, retry_for=60)
        for provider in providers:
            provider.status = 401
        started = time.monotonic()
        with pytest.raises(ChainUnreachableError, match="401"):
            rpc.request("eth_chainId")
        assert time.monotonic() - started < 2

    def test_those_who_come_back_are_awaited(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers)
        for provider in providers:
            provider.down = True
        threading.Timer(0.5, lambda: setattr(providers[2], "down", False)).start()
        assert int(rpc.request("eth_chainId"), 16) == 31337

    def test_random_faults_lose_nothing(self, world: World, providers: list[Provider], tmp_path: Path) -> None:
        """Each payment happens once, though a dropped request may have reached the node."""
        for provider in providers:
            provider.throttle = provider.drop = 0.15
        urls = ", ".join(provider.url for provider in providers)
        with Outbox(tmp_path / "outbox.db", world.chain(rpc_url=urls, retry_for=20)) as outbox:
            for amount in range(1, 9):
                outbox.submit(intents.transfer_tokens(FRIEND, amount))
        assert world.balance(FRIEND) == sum(range(1, 9))
        assert sum(provider.events["dropped"] for provider in providers) > 3

    def test_many_threads_share_it(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers, retry_for=20)
        rpc.check_chain(31337)
        for provider in providers:
            provider.drop = 0.3
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.extend(int(rpc.request("eth_chainId"), 16) for _ in range(15)))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [31337] * 90


class TestPatience:
    def test_wait_that_was_asked_for_is_kept(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers[:1], retry_for=10)
        providers[0].throttle, providers[0].retry_after = 1.0, "1"
        threading.Timer(0.3, lambda: setattr(providers[0], "throttle", 0.0)).start()
        started = time.monotonic()
        rpc.request("eth_chainId")
        assert time.monotonic() - started >= 1
        assert providers[0].events["throttled"] == 1, "it was left alone"

    def test_long_wait_is_left_to_the_user_and_remembered(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers[:1], retry_for=1)
        providers[0].throttle, providers[0].retry_after = 1.0, "600"
        for _ in range(2):
            with pytest.raises(ChainUnreachableError):
                rpc.request("eth_chainId")
        assert providers[0].events["throttled"] == 1

    def test_rate_is_kept(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers[:1], rate=20.0)
        started = time.monotonic()
        for _ in range(11):
            rpc.request("eth_chainId")
        assert time.monotonic() - started >= 0.5
        started = time.monotonic()
        assert len(rpc.batch("eth_getBlockByNumber", [["0x0", False]] * 25)) == 25
        assert time.monotonic() - started >= 1


class TestIdentity:
    def test_other_chain_is_refused_at_once(self, providers: list[Provider]) -> None:
        providers[1].chain_id = 1
        with pytest.raises(ChainIdMismatchError, match="serves chain 1") as caught:
            rpc_of(providers).check_chain(31337)
        assert providers[1].url in caught.value.message

    def test_other_chain_of_the_same_id_is_told_by_its_genesis(self, providers: list[Provider]) -> None:
        with Devnet.start(accounts=1) as other:
            providers[1].target = other.url
            with pytest.raises(ChainIdMismatchError, match="genesis"):
                rpc_of(providers).check_chain(31337)

    def test_one_that_is_away_at_first_is_checked_before_it_is_used(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers[:2], retry_for=0.5)
        providers[1].down = True
        rpc.check_chain(31337)
        providers[1].down, providers[1].chain_id, providers[0].down = False, 1, True
        with pytest.raises(ChainUnreachableError):
            rpc.request("eth_blockNumber")
        assert "eth_blockNumber" not in providers[1].calls
        providers[0].down = False
        assert int(rpc.request("eth_blockNumber"), 16) >= 0

    def test_access_keys_are_not_shown(self, world: World) -> None:
        assert shown_url("https://user:secret@node.example:8545/v2/KEY?token=x") == "https://node.example:8545/…"
        with pytest.raises(ChainUnreachableError) as caught:
            Rpc("http://127.0.0.1:9/v2/SECRET", retry_for=0.1).request("eth_chainId")
        assert "SECRET" not in str(caught.value)
        assert "SECRET" not in caught.value.url

    def test_one_text_names_several(self, world: World) -> None:
        assert Rpc(f"{world.devnet.url}, http://127.0.0.1:9,").name == f"{world.devnet.url}, http://127.0.0.1:9"
        with pytest.raises(ConfigError):
            Rpc(" , ")


class TestSurvey:
    def test_each_node_is_told_apart(self, world: World, providers: list[Provider]) -> None:
        world.mine(10)
        rpc = rpc_of([*providers, providers[0]])
        rpc.check_chain(31337)
        assert [each.problem for each in rpc.survey()] == ["", "", ""]
        providers[0].down, providers[1].lag = True, 5
        down, behind, well = rpc.survey()
        assert "does not answer" in down.problem and down.head is None
        assert "5 blocks behind" in behind.problem
        assert (well.name, well.problem) == (providers[2].url, "")


class TestNeverBack:
    def test_one_that_is_behind_does_not_take_over(self, world: World, providers: list[Provider]) -> None:
        world.mine(5)
        rpc = rpc_of(providers)
        rpc.check_chain(31337)
        head = rpc.head()
        providers[1].lag, providers[0].down = 2, True
        again = rpc.head()
        assert head is not None and again is not None
        assert again.number >= head.number
        assert rpc.url == providers[2].url

    def test_those_behind_are_awaited(self, world: World, providers: list[Provider]) -> None:
        world.mine(5)
        rpc = rpc_of(providers[:2])
        rpc.check_chain(31337)
        head = rpc.head()
        providers[1].lag, providers[0].down = 2, True
        threading.Timer(0.6, lambda: setattr(providers[1], "lag", 0)).start()
        again = rpc.head()
        assert head is not None and again is not None
        assert again.number >= head.number

    def test_those_that_stay_behind_are_an_error(self, world: World, providers: list[Provider]) -> None:
        world.mine(5)
        rpc = rpc_of(providers[:2], retry_for=0.5)
        rpc.check_chain(31337)
        rpc.head()
        providers[1].lag, providers[0].down = 2, True
        with pytest.raises(ChainUnreachableError):
            rpc.head()


class TestQuorum:
    def test_newest_block_that_two_have_is_acted_on(self, world: World, providers: list[Provider]) -> None:
        world.mine(5)
        rpc = rpc_of(providers, quorum=2)
        rpc.check_chain(31337)
        latest = world.rpc.header("latest")
        providers[1].lag, providers[2].lag = 3, 1
        head = rpc.head()
        assert latest is not None and head is not None
        assert head.number == latest.number - 1

    def test_one_on_a_fork_is_outvoted_or_told(self, world: World, providers: list[Provider]) -> None:
        world.mine(3)
        with Devnet.start(accounts=1) as fork:
            rpc = rpc_of(providers[:2], quorum=2, retry_for=0.5)
            rpc.check_chain(31337)
            # The genesis of a fork is the same, so it was let in; only its newest blocks tell.
            providers[1].target = fork.url
            Rpc(fork.url).request("anvil_mine", hex(10))
            with pytest.raises(ChainDisagreementError) as caught:
                rpc.head()
            assert caught.value.others == [providers[1].url]
            assert caught.value.retryable
            with_third = rpc_of([*providers[:1], providers[2], providers[1]], quorum=2)
            with_third._endpoints[2].is_identified = True
            assert with_third.head() is not None

    def test_too_few_answers_are_an_error(self, providers: list[Provider]) -> None:
        rpc = rpc_of(providers, quorum=3, retry_for=0.3)
        rpc.check_chain(31337)
        providers[2].down = True
        with pytest.raises(ChainUnreachableError, match="2 of 3"):
            rpc.head()

    def test_more_votes_than_nodes_are_refused(self, world: World) -> None:
        with pytest.raises(ConfigError, match="quorum of 2"):
            Rpc(world.devnet.url, quorum=2)


class TestIndex:
    """What is indexed through rude providers is what the node itself has."""

    def test_windows_of_a_provider_are_learned(self, world: World, providers: list[Provider], tmp_path: Path) -> None:
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            for amount in range(1, 3):
                pay(outbox, amount)
                world.mine(600)
        providers[0].log_range = 500
        with Indexer(tmp_path / "index.db", world.chain(rpc_url=providers[0].url)) as indexer:
            indexer.sync()
            assert amounts(indexer) == [1, 2]
        assert providers[0].events["range refused"] == 1
        assert providers[0].widest == 500

    def test_next_provider_may_accept_less(self, world: World, providers: list[Provider], tmp_path: Path) -> None:
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            for amount in range(1, 4):
                pay(outbox, amount)
                world.mine(150)
        for provider, limit in zip(providers, (500, 100, 50), strict=True):
            provider.log_range, provider.drop, provider.throttle = limit, 0.1, 0.1
        chain = world.chain(rpc_url=",".join(provider.url for provider in providers), retry_for=20)
        with Indexer(tmp_path / "index.db", chain) as indexer:
            indexer.sync()
            assert amounts(indexer) == [1, 2, 3]

    def test_two_block_reorganization_behind_faults(
        self, world: World, providers: list[Provider], tmp_path: Path
    ) -> None:
        for provider in providers:
            provider.drop = provider.throttle = 0.1
        chain = world.chain(rpc_url=",".join(provider.url for provider in providers), retry_for=20)
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox, Indexer(tmp_path / "index.db", chain) as indexer:
            for amount in itertools.islice(itertools.count(1), 4):
                pay(outbox, amount)
                indexer.sync()
            world.rpc.request("anvil_reorg", 2, [])
            pay(outbox, 9)
            indexer.sync()
            with Indexer(tmp_path / "fresh.db", world.chain()) as fresh:
                fresh.sync()
                assert indexer.raw_logs() == fresh.raw_logs()
                assert amounts(indexer)[:2] == [1, 2]

    def test_node_on_another_fork_cannot_slip_in_its_logs(
        self, world: World, providers: list[Provider], tmp_path: Path
    ) -> None:
        """Head and logs come from nodes that differ by a reorganization: the next pass sees one chain."""
        chain = world.chain(rpc_url=providers[0].url)
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox, Indexer(tmp_path / "index.db", chain) as indexer:
            pay(outbox, 1)
            pay(outbox, 2)
            head = chain.head()
            assert head is not None
            world.rpc.request("anvil_reorg", 2, [])
            assert indexer._sync_tail(indexer.head + 1, head) is None
            assert indexer.events() == []
            indexer.sync()
            with Indexer(tmp_path / "fresh.db", world.chain()) as fresh:
                fresh.sync()
                assert indexer.raw_logs() == fresh.raw_logs()


def test_settings_name_several(world: World, providers: list[Provider]) -> None:
    settings = NetworkSettings(rpc_url=", ".join(provider.url for provider in providers), retry_for=2)
    chain = Chain.connect(settings, deployment=world.deployment)
    providers[0].down = True
    assert chain.call("CollegiumToken", "symbol") == "STK"
    with pytest.raises(ConfigError):
        Chain.connect(replace(settings, quorum=4), deployment=world.deployment)
