"""`python -m benchmarks.soak.host FOLDER --rounds N`: all light clients of a crowd in one process.

Each has a home of its own with key, journal, outbox, egress log and store. They share the chain's index and a folder of
fetched blobs, which are public. Training is the least-squares task of the tests, so no torch is loaded.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from collegium.chain import Chain
from collegium.inputs import BlobSource
from collegium.storage import BlobFolder, MultiStore, open_store
from collegium_client.couriers import Couriers
from collegium_client.delivery import Pusher
from collegium_client.home import Home
from collegium_client.hosting import Host, SharedFollower
from collegium_client.node import Node, NodeParts
from collegium_client.session import Log
from tests.flows.trainer import TABLE, Trainer

THREADS = 8
LOOK_EVERY = 0.2
TURN_EVERY = 0.5
SHARED = "shared"


@contextmanager
def open_nodes(folder: Path, study_id: int) -> Iterator[list[Node]]:
    """A node for every home in `folder/homes` that is a client's."""
    with ExitStack() as stack:
        homes = sorted((folder / "homes").glob("client-*"))
        first = Home(homes[0])
        reader = first.chain()
        indexer = stack.enter_context(first.indexer(reader))
        follower = SharedFollower(indexer, study_id, every=LOOK_EVERY)
        shared = BlobFolder(folder / SHARED)
        uris = first.settings.read_stores
        public = [open_store(uri, chain_id=reader.chain_id, transport=first.transport) for uri in uris]
        nodes = []
        for site, path in enumerate(homes):
            home = Home(path)
            stack.enter_context(home.alone(f"node-{study_id}"))
            chain = Chain.connect(home.network, home.signer("node"), deployment=reader.deployment, egress=home.egress)
            log, own = Log(home, "node"), home.store
            parts = NodeParts(
                chain=chain, indexer=indexer, outbox=stack.enter_context(home.outbox(chain)),
                journal=stack.enter_context(home.journal(chain)), signer=chain.signer, folder=own,
                source=BlobSource(shared, MultiStore([own, shared, *public]), TABLE.format),
                pusher=Pusher(home.stores_to_push(study_id, chain.chain_id, chain.signer), own, log),
                couriers=Couriers(home.settings.coordinators, report=log, egress=home.egress, transport=home.transport),
                sandbox=Trainer(site),  # type: ignore[arg-type]
                state=home.state, models=home.folder / "models", table=TABLE,
                salt_secret=home.salt_secret(study_id, create=True), settings=home.settings.node, report=log,
                follower=follower,
            )  # fmt: skip
            nodes.append(Node(parts, study_id))
        yield nodes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak.host", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, required=True, help="final rounds after which it ends")
    given = parser.parse_args()
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    started = time.monotonic()
    about = json.loads((given.folder / "crowd.json").read_text(encoding="utf-8"))
    with open_nodes(given.folder, about["study"]) as nodes:
        print(f"{len(nodes)} clients after {time.monotonic() - started:.1f} s", flush=True)
        Host(nodes, threads=THREADS, poll_interval=TURN_EVERY).run(until=given.rounds, stop=stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
