"""After finality any one store may vanish: the audit is as green as before."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_audit_needs_no_particular_store(arena: Callable[..., Arena]) -> None:
    world = arena(rounds=2)
    world.start_coordinator(0)
    world.start_hospitals()
    world.wait_final(2)
    world.wait("every model kept", lambda _: all(len(world.told(at, "evaluated")) == 2 for at in range(3)))
    world.close_roles()
    world.assert_sound()
    homes = [*world.hospitals, *world.coordinators]
    for home in homes:
        report = world.audit(home.name)
        assert report.verdict == "ok", (home.name, list(report.lines()))
    for home in homes[1:]:
        shutil.rmtree(home / "store")
        (home / "store").mkdir()
    assert world.audit().verdict == "ok"
    shutil.rmtree(homes[0] / "store")
    (homes[0] / "store").mkdir()
    # Without any store the audit says that it could not finish, never that all is well.
    report = world.audit()
    assert (report.verdict, report.exit_code) == ("incomplete", 5)
