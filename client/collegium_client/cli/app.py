"""The command tree, by name only: `--help` imports none of the commands."""

from __future__ import annotations

from collegium.cli import tree

__all__ = ["cli", "run"]

# group -> command -> (module, help); the first level's plain commands are under "".
_TREE: dict[str, dict[str, tuple[str, str]]] = {
    "": {
        "init": ("setup", "Make a home: settings, keystore folder, state."),
        "doctor": ("setup", "Check everything a round needs, with the fix for what is missing."),
        "health": ("health", "Ask what runs on this home whether it is ready; for container and service checks."),
        "join": ("membership", "Join a study: sign its plan, lock stake."),
        "leave": ("membership", "Leave a study; the lock is released after its evidence period."),
        "watch": ("watch", "Recompute every proposal and refute a wrong one on chain."),
        "audit": ("audit", "Replay a study from public events and blobs; exit 4 on any mismatch."),
        "explore": ("explore", "Show studies, rounds and models as pages; `explore build` writes a static site."),
        "cost": ("cost", "Estimate what a federation costs in gas, before it is deployed."),
        "version": ("setup", "Show versions."),
    },
    "keys": {
        "new": ("keys", "Make a key: institution (cold) or node (hot)."),
        "show": ("keys", "Show the address of a key."),
        "list": ("keys", "List the keys of this home."),
        "rotate": ("keys", "Make a new node key and register it; the old one is revoked."),
        "revoke": ("keys", "Revoke the node key at once."),
    },
    "institution": {
        "register": ("membership", "Print the admission request; once admitted, register the node key."),
        "status": ("membership", "Show admission, node key and seats."),
    },
    "council": {
        "admit": ("council", "Draw up an admission for the council to sign."),
        "suspend": ("council", "Draw up a suspension, or the end of one."),
        "allow-referee": ("council", "Draw up that studies may name a referee."),
        "show": ("council", "Show what a file decides and who signed; needs no network."),
        "sign": ("council", "Sign a decision; needs no network."),
        "submit": ("council", "Carry a signed decision to the chain."),
    },
    "stake": {
        "deposit": ("stake", "Deposit stake tokens."),
        "status": ("stake", "Show free, unbonding and locked stake, credits and rewards."),
        "unlock": ("stake", "Start unbonding free stake."),
        "withdraw": ("stake", "Withdraw what is unbonded."),
        "claim": ("stake", "Collect rewards, shares of fines and released locks."),
    },
    "study": {
        "list": ("study", "List the studies of this deployment."),
        "show": ("study", "Show a study: plan, roster, rounds, model."),
        "create": ("study", "Create a study from a plan file."),
        "annex": ("annex", "Say in plain words what a plan means: the annex to an agreement."),
        "validate": ("study", "Check a plan file without sending anything."),
        "approve-task": ("study", "Show a task's code and approve its digest."),
        "open": ("governance", "Open the next round, or rounds one after the other."),
        "pause": ("governance", "Let no further round open until it is resumed (sponsor)."),
        "resume": ("governance", "Let rounds open again (sponsor)."),
        "extend": ("governance", "Set the term of a study or move its end further out (sponsor)."),
        "close": ("governance", "Let no further round open, for ever (sponsor)."),
        "remove-member": ("council", "Draw up that an institution leaves a study, for the council to sign."),
        "settle": ("study", "Write down what time decided; anybody may."),
    },
    "task": {"new": ("task", "Write a working task for a table or images: model, metrics, schema, tests.")},
    "data": {"check": ("data", "Check local data against a schema; counts only, small ones hidden.")},
    "train": {
        "run": ("train", "Take part in the rounds of a study."),
        "dry-run": ("dry_run", "Train once and show, byte for byte, what would leave; send nothing."),
        "resume": ("train", "Go on where an interrupted run stopped."),
    },
    "round": {
        "status": ("rounds", "Show the current round of a study."),
        "watch": ("rounds", "Follow rounds as they happen."),
        "open": ("rounds", "Open the next round."),
        "coordinate": ("coordinate", "Recompute one coordinate by hand; exit 4 when the proposal is wrong there."),
    },
    "model": {
        "pull": ("model", "Fetch a finalized model, verify it, write safetensors."),
        "evaluate": ("evaluation", "Measure a model on local cases; publish a signed report of counts if you choose."),
        "compare": ("evaluation", "Check reports of several sites and pool their counts."),
        "export": ("export", "Write a verified model as safetensors or ONNX, with a model card."),
        "verify": ("model", "Check a model file or blob against the chain; exit 4 on mismatch."),
    },
    "store": {
        "put": ("store", "Keep files as blobs."),
        "get": ("store", "Fetch a blob from any store, verify it, write it to a file."),
        "cid": ("store", "Compute CIDs of files, without any store."),
        "list": ("store", "List what a folder or a Kubo daemon keeps."),
        "verify": ("store", "Hash what a store keeps; exit 4 when something is damaged."),
        "remove": ("store", "Let go of blobs."),
        "prune": ("retention", "Let go of the updates whose retention term is over."),
        "export": ("store", "Write blobs to a CAR archive."),
        "import": ("store", "Check a CAR archive and keep its blobs."),
        "swarm-init": ("store", "Write key and settings of a Kubo daemon in a private swarm."),
    },
    "tls": {
        "new": ("tls", "Make a TLS key and a certificate bound to the node key."),
        "show": ("tls", "Show the certificate: node key, fingerprint, expiry."),
        "install": ("tls", "Take a certificate that an authority issued for this home's key."),
        "ca": ("tls", "Keep a private authority: `ca init`, `ca issue`."),
    },
    "log": {
        "show": ("log", "Show what left this home, and where it went."),
        "verify": ("log", "Check the chain of the egress log; exit 4 at the first broken line."),
    },
    "contracts": {
        "addresses": ("contracts", "List addresses, creation transactions and code hashes."),
        "verify": ("contracts", "Publish sources at block explorers, or compare them with the chain."),
        "standard-json": ("contracts", "Write the compiler's inputs, for an explorer's own page."),
    },
    "config": {
        "show": ("config", "Show the settings and where each comes from."),
        "set": ("config", "Change settings in collegium.toml."),
    },
    "devnet": {
        "up": ("devnet", "Start a local chain in the background."),
        "down": ("devnet", "Stop it."),
        "status": ("devnet", "Show whether it runs."),
    },
}
_GROUPS = {
    "keys": "Keys of this party.",
    "institution": "Admission and identity.",
    "council": "Decisions that k of n sign, also offline.",
    "stake": "Deposits, locks and rewards.",
    "study": "Studies and their plans.",
    "task": "Code that a study trains.",
    "data": "Local data; nothing leaves.",
    "train": "Local training and rounds.",
    "round": "Where a study stands.",
    "model": "Finalized models.",
    "store": "Blobs by hand, and archives of them.",
    "log": "What left this home.",
    "contracts": "The contracts' source and what is deployed.",
    "tls": "Certificates that say which node key is speaking.",
    "config": "Settings.",
    "devnet": "A chain on this machine.",
}

cli = tree.make_cli(
    package="collegium_client.cli",
    version="collegium",
    help="Collegium: federated learning among institutions, with every round proven on a chain.",
    tree=_TREE,
    groups=_GROUPS,
)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    return tree.run(cli, "collegium", arguments)
