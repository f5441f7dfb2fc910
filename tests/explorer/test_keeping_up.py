"""Reading on: event by event as good as all at once; blocks taken back; nodes and stores that fail."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from collegium.audit import audit_study
from collegium.chain import intents
from collegium.chain.abi import interface
from collegium.errors import ChainUnreachableError, PreconditionError
from collegium.explorer.site import list_pages, read_page
from collegium.explorer.source import Source
from collegium.explorer.web.render import Renderer
from collegium.records import ZERO32, Admit
from collegium.storage import MultiStore
from collegium.storage.remote import RemoteStore
from tests.support.accounts import Account
from tests.support.federation import Federation, Lie

from .worlds import open_source

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("explorer")]


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A federation of this module alone, to play on."""
    federation = Federation.start(tmp_path_factory.mktemp("young"), members=3)
    yield federation
    federation.stop()


def everything(source: Source) -> dict[str, object]:
    """All pages, without what depends on the moment."""
    pages = {path: dataclasses.asdict(read_page(source, path).record) for path in list_pages(source)}
    for page in pages.values():
        page.pop("live", None)
        for study in page.get("studies", ()):
            study.pop("live", None) if isinstance(study, dict) else None
    return pages


def test_reading_on_gives_what_reading_anew_gives(young: Federation, tmp_path: Path) -> None:
    with open_source(young, tmp_path / "on") as source:
        source.refresh()
        assert not source.refresh()
        young.play_round()
        assert source.refresh() and source.as_of.changed_at == source.as_of.block
        young.play_round(lie=Lie.MEAN)
        young.open_round()
        young.commit([0])
        assert source.refresh()
        with open_source(young, tmp_path / "anew") as other:
            other.refresh()
            assert everything(source) == everything(other)


def test_blocks_taken_back_are_forgotten(young: Federation, tmp_path: Path) -> None:
    rpc = young.chain.rpc
    with open_source(young, tmp_path) as source:
        source.refresh()
        before, rounds = everything(source), list(young.rounds)
        snapshot = rpc.request("evm_snapshot")
        young.commit([1, 2])
        source.refresh()
        seen = read_page(source, f"studies/1/rounds/{len(rounds)}").record
        assert sum(bool(row.committed) for row in seen.roll_call) == 3
        rpc.request("evm_revert", snapshot)
        rpc.request("anvil_mine", "0x3")
        source.refresh()
        assert everything(source) == before


def test_a_node_that_falls_silent_leaves_the_pages_readable(
    young: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ChainUnreachableError("The node does not answer.")

    with open_source(young, tmp_path) as source:
        source.refresh()
        before = everything(source)
        monkeypatch.setattr(source.chain.rpc, "request", refuse)
        with pytest.raises(ChainUnreachableError):
            source.refresh()
        assert "does not answer" in source.as_of.error
        page = read_page(source, "index").record
        assert {check.name: check.ok for check in page.health}["node"] is False
        after = everything(source)
        assert {path: page for path, page in after.items() if path != "index"} == {
            path: page for path, page in before.items() if path != "index"
        }


def test_two_explorers_do_not_share_an_index(young: Federation, tmp_path: Path) -> None:
    with open_source(young, tmp_path), pytest.raises(PreconditionError, match="Another explorer"):
        open_source(young, tmp_path)
    open_source(young, tmp_path).close()


def test_dead_stores_cost_one_wait_not_one_per_page(young: Federation, tmp_path: Path) -> None:
    stores = MultiStore([RemoteStore("http://127.0.0.1:9")])
    with Source(young.connect(), tmp_path, stores=stores) as source:
        source.refresh()
        asked = 0
        get = stores.get

        def count(*arguments: object, **options: object) -> bytes:
            nonlocal asked
            asked += 1
            return get(*arguments, **options)  # type: ignore[arg-type]

        stores.get = count  # type: ignore[method-assign]
        for path in list_pages(source):
            read_page(source, path)
        assert asked == 1


def test_a_store_that_lies_shows_nothing_of_its_bytes(young: Federation, tmp_path: Path) -> None:
    """What a store serves is believed only when it has the CID."""

    class Liar:
        name = "liar"

        def get(self, cid: object, *, max_bytes: int) -> bytes:
            from collegium.errors import CidMismatchError

            raise CidMismatchError("other bytes")

    with Source(young.connect(), tmp_path, stores=MultiStore([Liar()])) as source:  # type: ignore[list-item]
        source.refresh()
        assert read_page(source, "studies/1/index").record.published.ok is False
        cid = young.rounds[0].last.proposal.model_digest
        from collegium.storage import cid_from_digest

        assert source.blob(cid_from_digest(cid, 0).text) is None


def test_a_name_that_is_no_text_stops_nobody(young: Federation, tmp_path: Path) -> None:
    """The contract does not look at names: whatever the council signs gets into an event for ever."""

    class Bytes(str):
        def encode(self, *_: object, **__: object) -> bytes:
            return b"\xff\xfe\x80bad"

    institution = Account(young.chain, young.key_of("no text", "institution"))
    deadline = young.now() + 3600
    approvals = young._approve(Admit(institution.address, ZERO32, Bytes("abcbad"), 0, deadline))
    arguments = intents.admit(institution.address, ZERO32, "abcbad", deadline, approvals).args
    calldata = interface("Members").function("admit").encode(arguments).replace(b"abcbad", b"\xff\xfe\x80bad")
    young.operator.send_raw(young.chain.address_of("Members"), calldata)
    with open_source(young, tmp_path) as source:
        source.refresh()
        page = read_page(source, f"institutions/{institution.address}")
        assert page.record.party.name == "\\xff\\xfe\\x80bad"
        renderer = Renderer(network="n", chain_id=31337)
        assert b"\\xff\\xfe\\x80bad" in renderer.html(page, source.as_of)
    assert audit_study(young.chain, MultiStore([young.store]), young.study_id).checks
