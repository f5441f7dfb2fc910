"""Founds a study from a plan file, as `collegium study create` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collegium.chain.abi import interface
from collegium.chain.client import Chain
from collegium.storage import Store, open_store
from collegium_client.home import Home
from collegium_client.plan import Draft, PlanFile
from collegium_client.session import open_sandbox
from collegium_client.task import TaskSource

from .sender import Mined, Sender, Transaction, drain, send

__all__ = ["CreatedStudy", "create_study", "draft_study"]


@dataclass(frozen=True, slots=True)
class CreatedStudy:
    study_id: int
    draft: Draft
    mined: Mined


def draft_study(plan: Path, home: Home, referee: str) -> Draft:
    """Run the task, confined, to learn its tensors and its seeded initial weights.

    Raises ConfigError, TaskInvalid, PlanRejectedError.
    """
    file = PlanFile.load(plan)
    source = TaskSource.read(file.task_path)
    with open_sandbox(home, source, name="draft") as sandbox:
        tensors = sandbox.describe().tensors
        genesis = sandbox.genesis(int(file.tables["model"]["seed"]))
    return file.draft(source, tensors, genesis, referee)


def create_study(
    chain: Chain,
    sender: Sender,
    plan: Path,
    home: Home,
    *,
    stores: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda line: None,
) -> CreatedStudy:
    """Publish plan, genesis model and task, then put the plan on chain. Another call founds another study.

    home: its store keeps the blobs. stores: further ones to publish them in.
    Raises RevertedError before anything is sent when the plan is refused.
    """
    drain(sender)
    draft = draft_study(plan, home, chain.address_of("Referee"))
    others = (open_store(uri, chain_id=chain.chain_id, transport=home.transport) for uri in stores)
    targets: list[Store] = [home.store, *others]
    for target in targets:
        for blob in draft.blobs():
            say(f"{target.name}: {target.put(blob)}")
    data = interface("Collegium").function("createStudy").encode((draft.plan, draft.format))
    mined = send(sender, Transaction(chain.address_of("Collegium"), data))
    sender.confirm(mined)
    event = interface("Collegium").events["StudyCreated"]
    topics = next(each["topics"] for each in mined.logs if each["topics"][0] == "0x" + event.topic.hex())
    return CreatedStudy(int(topics[1], 16), draft, mined)
