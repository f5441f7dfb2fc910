"""The inbox keeps what was accepted, over restarts and between threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from collegium_coordinator.inbox import Inbox, Item, Topic
from scripts.setup.paths import ROOT


def item(
    index: int, wire: bytes = b"wire", *, round: int = 1, topic: Topic = Topic.UPDATES, subject: bytes = b""
) -> Item:
    return Item(topic, 1, round, index, subject, wire, 12.5)


def test_items_come_back_in_seat_order(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "deep" / "inbox.sqlite")
    for index in (5, 0, 127):
        inbox.put(item(index))
    assert inbox.get(1, 1, Topic.UPDATES) == [item(0), item(5), item(127)]
    assert inbox.get(1, 2, Topic.UPDATES) == inbox.get(2, 1, Topic.UPDATES) == inbox.get(1, 1, Topic.REVEALS) == []
    inbox.close()


def test_latest_wins_per_topic_and_subject(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    inbox.put(item(3, b"old"))
    inbox.put(item(3, b"new"))
    inbox.put(item(3, b"reveal", topic=Topic.REVEALS))
    for subject in (b"a" * 32, b"b" * 32):
        inbox.put(item(3, subject[:2], topic=Topic.ENDORSEMENTS, subject=subject))
    assert [each.wire for each in inbox.get(1, 1, Topic.UPDATES)] == [b"new"]
    assert [each.wire for each in inbox.get(1, 1, Topic.ENDORSEMENTS, b"b" * 32)] == [b"bb"]
    inbox.close()


def test_restart_forgets_nothing(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    inbox.put(item(1))
    inbox.put(item(2, round=2))
    inbox.close()
    inbox = Inbox(tmp_path / "inbox.sqlite")
    assert inbox.get(1, 1, Topic.UPDATES) == [item(1)]
    inbox.discard_before(1, 2)
    assert inbox.get(1, 1, Topic.UPDATES) == [] and inbox.get(1, 2, Topic.UPDATES) == [item(2, round=2)]
    inbox.close()


def test_accepted_item_outlives_kill(tmp_path: Path) -> None:
    act = (
        "import sys; from pathlib import Path; from collegium_coordinator.inbox import *;"
        "Inbox(Path(sys.argv[1])).put(Item(Topic.UPDATES, 1, 1, 4, b'', b'wire', 12.5))"
    )
    done = subprocess.run(
        [sys.executable, "-c", act, str(tmp_path / "inbox.sqlite")], cwd=ROOT, check=False, timeout=60,
        env={**os.environ, "COLLEGIUM_CRASH_AT": "coordinator.message_kept"},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    inbox = Inbox(tmp_path / "inbox.sqlite")
    assert inbox.get(1, 1, Topic.UPDATES) == [item(4)]
    inbox.close()


def test_threads_share_it(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    threads = [threading.Thread(target=inbox.put, args=(item(index),)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inbox.get(1, 1, Topic.UPDATES)) == 16
    inbox.close()
