"""A process that sends payments through an outbox, to be killed: `python -m tests.chain.killed FOLDER URL KEY BUMP`."""

from __future__ import annotations

import sys
from pathlib import Path

from collegium.chain import Chain, Indexer, LocalSigner, NetworkSettings, Outbox, intents
from collegium.errors import TimedOutError

FRIEND = "0xfEfEfEfEfEfEfEfEfEfEfEfEfEfEfEfEfEfEfEfE"
PAYMENTS = (1, 2, 4)


def main(folder: Path, url: str, key: str, bump_after: float, confirmations: int) -> None:
    """Three payments that must each happen once; may be started again and again."""
    chain = Chain.connect(
        NetworkSettings(
            rpc_url=url,
            deployment=folder / "deployment.json",
            poll_interval=0.05,
            bump_after=bump_after,
            confirmations=confirmations,
        ),
        LocalSigner(bytes.fromhex(key)),
    )
    with Indexer(folder / "index.db", chain) as indexer, Outbox(folder / "outbox.db", chain) as outbox:
        outbox.resume()
        for amount in PAYMENTS:
            outbox.send(intents.transfer_tokens(FRIEND, amount, request=str(amount)))
        for amount in PAYMENTS:
            try:
                outbox.wait(f"token/transfer/{amount}", timeout=15)
            except TimedOutError:
                sys.exit(8)
        indexer.sync()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
