"""The command `collegium-coordinator`, by name only: `--help` imports none of the commands."""

from __future__ import annotations

from collegium.cli import tree

__all__ = ["cli", "main", "run"]

_TREE = {
    "": {
        "run": ("commands", "Collect signed messages, carry them in batches, propose on duty, serve the store."),
        "enlist": ("commands", "Lock the aggregator bond and enter the order of aggregators."),
        "propose": ("commands", "Look at the chain once and do what is due now."),
        "status": ("commands", "Show what a running coordinator serves and where its round stands."),
    }
}

cli = tree.make_cli(
    package="collegium_coordinator",
    version="collegium",
    help="Collect signed messages, carry them in batches, propose on duty, serve the store.",
    tree=_TREE,
    groups={},
)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    return tree.run(cli, "collegium-coordinator", arguments)


def main() -> None:
    """Entry point: run the command line and exit with its code."""
    raise SystemExit(run())


if __name__ == "__main__":
    main()
