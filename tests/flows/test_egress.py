"""Whatever left a hospital is in its egress log: by the books of the coordinator, of the chain and of the stores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collegium import egress
from collegium.chain.rpc import to_int
from collegium_client.home import Home
from collegium_coordinator.inbox import Inbox, Topic

from .arena import Arena
from .roles import PASSWORD

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def records_of(home: Path, kind: str) -> list[dict[str, Any]]:
    path = home / "state" / egress.FILE
    assert egress.verify(path).broken_line is None
    return [record for record in egress.read(path) if record["kind"] == kind]


def transactions_from(world: Arena, address: str) -> set[str]:
    """Hashes of everything the chain has from an account since the contracts were deployed."""
    rpc, found = world.chain.rpc, set()
    for number in range(world.chain.deployment.start_block, to_int(rpc.request("eth_blockNumber")) + 1):
        for each in rpc.request("eth_getBlockByNumber", hex(number), True)["transactions"]:
            if each["from"].lower() == address.lower():
                found.add(each["hash"])
    return found


def bodies_in(inbox: Path, study: int) -> dict[int, set[str]]:
    """SHA-256 of the messages a coordinator holds, by seat, as the hospitals must have posted them."""
    found: dict[int, set[str]] = {}
    box = Inbox(inbox)
    for topic in Topic:
        subjects = [bytes.fromhex(row[0]) for row in box._db.execute(
            "SELECT DISTINCT hex(subject) FROM items WHERE topic=?", (topic.value,))]  # fmt: skip
        for subject in subjects:
            for item in box.get(study, 1, topic, subject):
                body = {"study": study, "round": 1, "item": item.wire.hex()}
                if subject:
                    body["proposal"] = subject.hex()
                found.setdefault(item.index, set()).add(hashlib.sha256(json.dumps(body).encode()).hexdigest())
    box.close()
    return found


def test_the_books_agree(arena: Callable[..., Arena]) -> None:
    world = arena(hospitals=3, node={"carry_after": 0.1})
    # The last one knows no coordinator: it carries all of its messages itself.
    world.edit(world.hospitals[2], "coordinators", urls=[])
    world.edit(world.hospitals[2], "stores", push=world.urls)
    start = {at: transactions_from(world, world.federation.members[at].node.address) for at in range(3)}
    world.start_coordinator(0)
    world.start_hospitals()
    world.wait_final(1)
    world.assert_sound()
    world.close_roles()

    taken = bodies_in(world.coordinators[0] / "state" / "inbox.sqlite", world.study_id)
    writers = [json.loads(line) for line in
               (world.coordinators[0] / "store" / "writers.jsonl").read_text().splitlines()]  # fmt: skip
    for at, home in enumerate(world.hospitals):
        key = world.federation.members[at].node.address
        messages = records_of(home, "message")
        assert taken.get(at, set()) <= {record["sha256"] for record in messages}
        assert len(taken.get(at, ())) == (0 if at == 2 else 4), taken
        assert {record["transaction"] for record in records_of(home, "transaction")} == (
            transactions_from(world, key) - start[at]
        )
        brought = {entry["cid"] for entry in writers if entry["key"].lower() == key.lower()}
        noted = records_of(home, "blob")
        assert brought <= {record["cid"] for record in noted} and brought
        assert {(record["study"], record["round"]) for record in [*messages, *noted]} == {(world.study_id, 1)}
        assert {record["destination"] for record in [*messages, *noted]} == set(world.urls)
        assert records_of(home, "contact").pop(0)["destination"] == world.rpc_url
    assert len(records_of(world.hospitals[2], "transaction")) >= 2
    assert PASSWORD not in (world.hospitals[2] / "state" / egress.FILE).read_text()

    # The coordinator's own log: what it sent, and every blob that anybody took from its store.
    coordinator = world.coordinators[0]
    sent = {record["transaction"] for record in records_of(coordinator, "transaction")}
    assert sent == transactions_from(world, world.aggregator(0).node.address)
    served = {record["cid"] for record in records_of(coordinator, "served")}
    assert {entry["cid"] for entry in writers} <= served


def test_nothing_leaves_while_the_log_cannot_be_written(
    arena: Callable[..., Arena], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of one hospital fills up after its training; when there is room again it goes on where it was."""
    world = arena(hospitals=2, coordinators=1)
    full = world.hospitals[0] / "state" / egress.FILE
    with monkeypatch.context() as patch:
        real = egress._append_locked

        def refuse(descriptor: int, fields: Any) -> None:
            if Path(f"/proc/self/fd/{descriptor}").readlink() == full and fields["kind"] != "contact":
                raise OSError(28, "No space left on device")
            real(descriptor, fields)

        patch.setattr(egress, "_append_locked", refuse)
        world.start_coordinator(0)
        world.start_hospitals()
        world.wait("the hospital to complain", lambda _: world.told(0, "failed"))
        (said,) = world.told(0, "failed")
        assert said["code"] == "disk" and "space" in said["hint"]
        assert world.told(0, "trained") and not world.view().rounds[0].commits.get(0)
        assert not records_of(world.hospitals[0], "message")
        assert 0 not in bodies_in(world.coordinators[0] / "state" / "inbox.sqlite", world.study_id)
    world.wait_final(1)
    world.assert_sound()
    view = world.view()
    assert view.rounds[0].outcome is not None and view.rounds[0].outcome.included == 0b11
    # One training, one update: what was signed before the disk was full is what was sent.
    assert len(world.told(0, "trained")) == 1
    assert Home(world.hospitals[0]).egress.path == full
