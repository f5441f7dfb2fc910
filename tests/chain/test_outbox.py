"""The outbox against a real node: one effect per key, whatever goes wrong in between."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak

from collegium.chain import Intent, Outbox, intents
from collegium.chain.outbox import IntentConflictError, OutboxMismatchError
from collegium.chain.sending import State
from collegium.errors import (
    ChainUnreachableError,
    InsufficientGasError,
    RevertedError,
    TimedOutError,
)
from collegium.records import checksum_address

from .lying import Proxy
from .worlds import World, send_raw, wait_for

pytestmark = pytest.mark.chain

FRIEND = checksum_address("0x" + "fe" * 20)


def payment(key: str, amount: int = 1) -> Intent:
    return intents.transfer_tokens(FRIEND, amount, request=key)


class TestSubmit:
    def test_mined_intent_returns_its_events(self, world: World, tmp_path: Path) -> None:
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            receipt = outbox.submit(payment("a", 5))
        event = receipt.event("Transfer")
        assert event is not None
        assert (event.args["to"].lower(), event.args["value"]) == (FRIEND.lower(), 5)
        assert receipt.gas_used > 21_000

    def test_same_key_has_one_effect(self, world: World, tmp_path: Path) -> None:
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            first = outbox.submit(payment("a"))
            assert outbox.submit(payment("a")) == first
        assert world.balance(FRIEND) == 1

    def test_same_key_with_other_contents_is_refused(self, world: World, tmp_path: Path) -> None:
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            outbox.submit(payment("a", 1))
            with pytest.raises(IntentConflictError):
                outbox.submit(payment("a", 2))

    def test_refused_intent_is_explained_and_sends_nothing(self, world: World, tmp_path: Path) -> None:
        chain = world.chain(1)
        before = chain.rpc.request("eth_getTransactionCount", chain.signer.address, "pending")
        with Outbox(tmp_path / "outbox.db", chain) as outbox:
            with pytest.raises(RevertedError) as caught:
                outbox.submit(payment("a", 7))
            assert caught.value.error == "ERC20InsufficientBalance"
            assert caught.value.fields["needed"] == 7
            assert "tokens" in str(caught.value)
            entry = outbox.find("token/transfer/a")
            assert entry is not None
            assert entry.state is State.FAILED
        assert chain.rpc.request("eth_getTransactionCount", chain.signer.address, "pending") == before

    def test_failed_key_may_be_tried_again(self, world: World, tmp_path: Path) -> None:
        with Outbox(tmp_path / "outbox.db", world.chain(1)) as outbox:
            with pytest.raises(RevertedError):
                outbox.submit(payment("a"))
            with Outbox(tmp_path / "rich.db", world.chain()) as rich:
                rich.submit(intents.transfer_tokens(world.signer(1).address, 10))
            outbox.submit(payment("a"))
        assert world.balance(FRIEND) == 1

    def test_account_without_coin_is_told_so(self, world: World, tmp_path: Path) -> None:
        chain = world.chain(2)
        world.rpc.request("anvil_setBalance", chain.signer.address, hex(1000))
        with Outbox(tmp_path / "outbox.db", chain) as outbox:
            with pytest.raises(InsufficientGasError) as caught:
                outbox.submit(Intent("approve", "CollegiumToken", "approve", (FRIEND, 1)))
            assert chain.signer.address in str(caught.value)
            world.rpc.request("anvil_setBalance", chain.signer.address, hex(10**18))
            outbox.submit(Intent("approve", "CollegiumToken", "approve", (FRIEND, 1)))

    def test_revert_inside_a_block_is_explained(self, world: World, tmp_path: Path) -> None:
        """The simulation passes, then another transaction takes the money first."""
        signer = world.signer(3)
        with Outbox(tmp_path / "rich.db", world.chain()) as rich:
            rich.submit(intents.transfer_tokens(signer.address, 5))
        world.automine(False)
        chain = world.chain(3)
        with Outbox(tmp_path / "outbox.db", chain) as outbox:
            outbox.send(payment("a", 5))
            world.rpc.request("anvil_dropAllTransactions")
            world.automine(True)
            # The money goes away behind the signed transaction's back, without using its nonce.
            set_balance(world, signer.address, 0)
            with pytest.raises(RevertedError) as caught:
                outbox.wait("token/transfer/a", timeout=20)
            assert caught.value.error == "ERC20InsufficientBalance"
            assert caught.value.transaction.startswith("0x")

    def test_wait_that_takes_too_long_loses_nothing(self, world: World, tmp_path: Path) -> None:
        world.automine(False)
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            with pytest.raises(TimedOutError):
                outbox.submit(payment("a"), timeout=0.2)
            world.mine()
            outbox.submit(payment("a"))
        assert world.balance(FRIEND) == 1


def set_balance(world: World, account: str, amount: int) -> None:
    """Write the token's balance slot of an account."""
    slot = keccak(encode(["address", "uint256"], [account, 0]))
    token = world.deployment.addresses["CollegiumToken"]
    world.rpc.request("anvil_setStorageAt", token, "0x" + slot.hex(), "0x" + amount.to_bytes(32, "big").hex())


class TestManyPending:
    def test_intents_queue_up_behind_each_other(self, world: World, tmp_path: Path) -> None:
        world.automine(False)
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            for number in range(5):
                outbox.send(payment(str(number)))
            nonces = [entry.nonce for entry in outbox.unfinished()]
            assert nonces == list(range(nonces[0] or 0, (nonces[0] or 0) + 5))
            world.mine()
            for number in range(5):
                outbox.wait(f"token/transfer/{number}")
        assert world.balance(FRIEND) == 5

    def test_threads_share_one_outbox(self, world: World, tmp_path: Path) -> None:
        errors: list[BaseException] = []
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:

            def pay(number: int) -> None:
                try:
                    outbox.submit(payment(str(number % 8)))
                except BaseException as error:
                    errors.append(error)

            threads = [threading.Thread(target=pay, args=(number,)) for number in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert errors == []
        assert world.balance(FRIEND) == 8

    def test_node_that_forgets_a_transaction_is_told_again(self, world: World, tmp_path: Path) -> None:
        """A gap in the nonces would block everything behind it."""
        world.automine(False)
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            for number in range(3):
                outbox.send(payment(str(number)))
            first = outbox.unfinished()[0]
            digest = outbox._log.attempts(first)[0].hash
            world.rpc.request("anvil_dropTransaction", digest)
            world.mine()
            assert world.balance(FRIEND) == 0
            world.automine(True)
            for number in range(3):
                outbox.wait(f"token/transfer/{number}", timeout=20)
        assert world.balance(FRIEND) == 3

    def test_nonce_taken_by_another_tool_is_replaced(self, world: World, tmp_path: Path) -> None:
        world.automine(False)
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            outbox.send(payment("a"))
            world.rpc.request("anvil_dropAllTransactions")
            world.automine(True)
            send_raw(world.rpc, world.signer(), to=FRIEND, gas=30_000)
            outbox.wait("token/transfer/a", timeout=20)
            entry = outbox.find("token/transfer/a")
            assert entry is not None
            assert len(outbox._log.attempts(entry)) == 2
        assert world.balance(FRIEND) == 1

    def test_foreign_pending_transaction_keeps_its_nonce(self, world: World, tmp_path: Path) -> None:
        world.automine(False)
        rpc, signer = world.rpc, world.signer()
        nonce = int(rpc.request("eth_getTransactionCount", signer.address, "pending"), 16)
        raw, digest = signer.sign_transaction(
            {"type": 2, "chainId": 31337, "nonce": nonce, "to": FRIEND, "value": 3, "data": b"", "gas": 30_000,
             "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9}
        )  # fmt: skip
        rpc.request("eth_sendRawTransaction", "0x" + raw.hex())
        with Outbox(tmp_path / "outbox.db", world.chain()) as outbox:
            outbox.send(payment("a"))
            assert outbox.unfinished()[0].nonce == nonce + 1
            world.mine()
            outbox.wait("token/transfer/a")
        assert rpc.request("eth_getTransactionReceipt", "0x" + digest.hex())["status"] == "0x1"


class TestFees:
    def test_waiting_transaction_is_replaced_at_a_higher_fee(self, world: World, tmp_path: Path) -> None:
        world.automine(False)
        with Outbox(tmp_path / "outbox.db", world.chain(bump_after=0.3)) as outbox:
            outbox.send(payment("a"))
            with pytest.raises(TimedOutError):
                outbox.wait("token/transfer/a", timeout=2.5)
            entry = outbox.find("token/transfer/a")
            assert entry is not None
            attempts = outbox._log.attempts(entry)
            assert len(attempts) >= 2
            assert {attempt.nonce for attempt in attempts} == {entry.nonce}
            assert attempts[0].max_fee * 10 >= attempts[1].max_fee * 11
            assert attempts[0].tip * 10 >= attempts[1].tip * 11
            world.mine()
            receipt = outbox.wait("token/transfer/a")
            assert receipt.transaction == attempts[0].hash
        assert world.balance(FRIEND) == 1


class TestReorganization:
    def test_intent_whose_block_vanished_is_mined_again(self, world: World, tmp_path: Path) -> None:
        with Outbox(tmp_path / "outbox.db", world.chain(confirmations=3)) as outbox:
            outbox.send(payment("a"))
            with pytest.raises(TimedOutError):
                outbox.wait("token/transfer/a", timeout=0.3)
            entry = outbox.find("token/transfer/a")
            assert entry is not None
            assert entry.state is State.MINED
            world.rpc.request("anvil_reorg", 1, [])
            assert world.balance(FRIEND) == 0
            done: list[object] = []
            thread = threading.Thread(target=lambda: done.append(outbox.wait("token/transfer/a", timeout=20)))
            thread.start()
            wait_for(lambda: world.balance(FRIEND) == 1)
            world.mine(3)
            thread.join()
            assert len(done) == 1
        assert world.balance(FRIEND) == 1

    def test_shallow_transaction_is_not_final(self, world: World, tmp_path: Path) -> None:
        with Outbox(tmp_path / "outbox.db", world.chain(confirmations=2)) as outbox:
            outbox.send(payment("a"))
            world.mine(1)
            with pytest.raises(TimedOutError):
                outbox.wait("token/transfer/a", timeout=0.3)
            world.mine(1)
            outbox.wait("token/transfer/a")


class TestUnreachableNode:
    def test_intent_survives_an_absent_node(self, world: World, tmp_path: Path) -> None:
        with Proxy(world.devnet.url) as proxy, Outbox(
            tmp_path / "outbox.db", world.chain(rpc_url=proxy.url, retry_for=0.2)
        ) as outbox:
            proxy.down = True
            with pytest.raises(ChainUnreachableError):
                outbox.submit(payment("a"))
            proxy.down = False
            results = outbox.resume()
            assert list(results) == ["token/transfer/a"]
        assert world.balance(FRIEND) == 1

    def test_node_that_comes_back_while_waiting_is_awaited(self, world: World, tmp_path: Path) -> None:
        world.automine(False)
        with Proxy(world.devnet.url) as proxy:
            chain = world.chain(rpc_url=proxy.url, retry_for=10.0)
            with Outbox(tmp_path / "outbox.db", chain) as outbox:
                outbox.send(payment("a"))
                proxy.down = True
                world.mine()
                threading.Timer(0.5, lambda: setattr(proxy, "down", False)).start()
                outbox.wait("token/transfer/a")
        assert world.balance(FRIEND) == 1

    def test_lost_answer_to_a_sent_transaction_is_no_second_one(self, world: World, tmp_path: Path) -> None:
        """The node takes the transaction, and the connection breaks before it says so."""
        with Proxy(world.devnet.url) as proxy:
            chain = world.chain(rpc_url=proxy.url, retry_for=0.2)

            def hang_up(method: str, parameters: list[object], result: object) -> object:
                if method == "eth_sendRawTransaction":
                    proxy.down = True
                    raise ConnectionError
                return result

            proxy.lie = hang_up
            with Outbox(tmp_path / "outbox.db", chain) as outbox:
                with pytest.raises(ChainUnreachableError):
                    outbox.submit(payment("a"))
                proxy.down, proxy.lie = False, lambda method, parameters, result: result
                outbox.submit(payment("a"))
        assert world.balance(FRIEND) == 1

    def test_outbox_of_another_chain_is_refused(self, world: World, tmp_path: Path) -> None:
        Outbox(tmp_path / "outbox.db", world.chain()).close()
        from collegium.chain.devnet import Devnet

        with Devnet.start(accounts=1) as other:
            strange = World.create(other)
            with pytest.raises(OutboxMismatchError):
                Outbox(tmp_path / "outbox.db", strange.chain())
