"""Many nodes in one process: turns, one reading of the chain for all."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest

from collegium.chain import Indexer
from collegium.chain.following import StudyFollower
from collegium.errors import ChainUnreachableError
from collegium_client.hosting import Host, SharedFollower
from collegium_client.node import Node


class Counting:
    """What a host asks of a node: turns that are counted, and the most that ran at once."""

    def __init__(self, turns: int, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.left, self.seconds, self.error = turns, seconds, error
        self.at_once = self.most_at_once = self.turns = 0
        self.closed = False

    def turn(self, *, until: int | None = None) -> bool:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.seconds)
        self.at_once -= 1
        self.turns += 1
        if self.error is not None:
            raise self.error
        return until is not None and self.turns >= self.left

    def close(self) -> None:
        self.closed = True


def host(*nodes: Counting, threads: int = 4) -> Host:
    return Host(cast(list[Node], nodes), threads=threads, poll_interval=0.0)


class TestHost:
    def test_every_node_ends_after_its_own_turns(self) -> None:
        nodes = [Counting(at) for at in range(1, 8)]
        host(*nodes).run(until=3)
        assert [node.turns for node in nodes] == [1, 2, 3, 4, 5, 6, 7]
        assert all(node.closed for node in nodes)

    def test_a_node_never_has_two_turns_at_once(self) -> None:
        nodes = [Counting(20, seconds=0.001) for _ in range(2)]
        host(*nodes, threads=8).run(until=1)
        assert {node.most_at_once for node in nodes} == {1}

    def test_a_slow_node_does_not_keep_others_waiting(self) -> None:
        slow, quick = Counting(1, seconds=0.5), Counting(5)
        stop = threading.Event()
        thread = threading.Thread(target=host(slow, quick, threads=2).run, kwargs={"until": 1, "stop": stop})
        thread.start()
        time.sleep(0.3)
        assert (quick.turns, slow.turns) == (5, 0)
        thread.join(5)

    def test_stop_ends_a_host_that_would_go_on(self) -> None:
        stop, node = threading.Event(), Counting(0)
        thread = threading.Thread(target=host(node).run, kwargs={"stop": stop})
        thread.start()
        time.sleep(0.1)
        stop.set()
        thread.join(5)
        assert not thread.is_alive() and node.turns > 1 and node.closed

    def test_an_error_ends_the_host_and_closes_all_nodes(self) -> None:
        broken, fine = Counting(1, error=RuntimeError("broken")), Counting(10_000)
        with pytest.raises(RuntimeError, match="broken"):
            host(broken, fine).run(until=1)
        assert broken.closed and fine.closed


class TestSharedFollower:
    def test_many_looks_are_one_question(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int] = []

        def refresh(self: Any) -> Any:
            asked.append(len(asked))
            return asked[-1]

        monkeypatch.setattr(StudyFollower, "refresh", refresh)
        follower = SharedFollower(cast(Indexer, None), 1, every=0.3)
        assert {cast(int, follower.refresh()) for _ in range(100)} == {0}
        time.sleep(0.35)
        assert cast(int, follower.refresh()) == 1

    def test_an_outage_is_told_to_every_node_and_asked_for_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[None] = []

        def refresh(self: Any) -> Any:
            asked.append(None)
            raise ChainUnreachableError("no node")

        monkeypatch.setattr(StudyFollower, "refresh", refresh)
        follower = SharedFollower(cast(Indexer, None), 1, every=5.0)
        for _ in range(3):
            with pytest.raises(ChainUnreachableError):
                follower.refresh()
        assert len(asked) == 1
