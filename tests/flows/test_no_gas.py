"""A hospital without coin: served by a coordinator it needs none; on its own it says what is missing, and goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.records import bits

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def empty(world: Arena, at: int) -> str:
    address = world.federation.members[at].node.address
    world.chain.rpc.request("anvil_setBalance", address, "0x0")
    return address


def test_served_hospital_needs_no_coin(arena: Callable[..., Arena]) -> None:
    world = arena()
    empty(world, 2)
    world.start_coordinator(0)
    world.start_hospitals()
    final = world.wait_final(1)
    assert final.outcome is not None and bits(final.outcome.included) == [0, 1, 2]
    world.assert_sound()


def test_unserved_hospital_says_so_and_recovers(arena: Callable[..., Arena]) -> None:
    world = arena()
    address = empty(world, 2)
    world.edit(world.hospitals[2], "coordinators", urls=[])
    world.edit(world.hospitals[2], "stores", push=world.urls)
    world.edit(world.hospitals[2], "node", carry_after=0.02)
    world.start_coordinator(0)
    hospital = world.start_hospital(2)
    world.start_hospitals(2)
    world.wait("the complaint", lambda _: world.told(2, "failed"))
    assert hospital.is_alive
    (told,) = world.told(2, "failed")
    assert told["code"] == "insufficient_gas" and address in told["reason"] and told["hint"]
    world.chain.rpc.request("anvil_setBalance", address, hex(10**18))
    final = world.wait_final(1)
    assert final.outcome is not None and bits(final.outcome.included) == [0, 1, 2]
    world.assert_sound()
