"""The command tree, by name only: `--help` imports none of the commands."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import rich_click as click

from collegium.cli.framework import SCHEMA

__all__ = ["cli", "run"]

# group -> command -> (module, help); the first level's plain commands are under "".
_TREE: dict[str, dict[str, tuple[str, str]]] = {
    "": {
        "init": ("setup", "Make a home: settings, keystore folder, state."),
        "doctor": ("setup", "Check everything a round needs, with the fix for what is missing."),
        "join": ("membership", "Join a study: sign its plan, lock stake."),
        "leave": ("membership", "Leave a study; the lock is released after its evidence period."),
        "watch": ("watch", "Recompute every proposal and refute a wrong one on chain."),
        "audit": ("audit", "Replay a study from public events and blobs; exit 4 on any mismatch."),
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
        "validate": ("study", "Check a plan file without sending anything."),
        "approve-task": ("study", "Show a task's code and approve its digest."),
        "settle": ("study", "Write down what time decided; anybody may."),
    },
    "train": {
        "run": ("train", "Take part in the rounds of a study."),
        "dry-run": ("train", "Train and encode one update, send nothing."),
        "resume": ("train", "Go on where an interrupted run stopped."),
    },
    "round": {
        "status": ("rounds", "Show the current round of a study."),
        "watch": ("rounds", "Follow rounds as they happen."),
        "open": ("rounds", "Open the next round."),
    },
    "model": {
        "pull": ("model", "Fetch a finalized model, verify it, write safetensors."),
        "verify": ("model", "Check a model file or blob against the chain; exit 4 on mismatch."),
    },
    "config": {"show": ("setup", "Show the settings and where each comes from.")},
    "devnet": {
        "up": ("devnet", "Start a local chain in the background."),
        "down": ("devnet", "Stop it."),
        "status": ("devnet", "Show whether it runs."),
    },
}
_GROUPS = {
    "keys": "Keys of this party.",
    "institution": "Admission and identity.",
    "stake": "Deposits, locks and rewards.",
    "study": "Studies and their plans.",
    "train": "Local training and rounds.",
    "round": "Where a study stands.",
    "model": "Finalized models.",
    "config": "Settings.",
    "devnet": "A chain on this machine.",
}


class _Lazy(click.RichCommand):
    """A command that is listed by name and imported when it is reached."""

    def __init__(self, name: str, module: str, function: str, text: str) -> None:
        super().__init__(name=name, help=text)
        self._module, self._function = module, function

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> Any:
        module = importlib.import_module(f"collegium_client.cli.{self._module}")
        loaded: click.RichCommand = getattr(module, self._function)
        loaded.name = self.name
        made: Any = loaded.make_context(info_name, args, parent, **extra)
        return made


class _Group(click.RichGroup):
    """A group that knows its commands by name."""

    def __init__(self, *args: Any, tree: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self._tree = tree

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = list(_TREE[self._tree])
        return names if self._tree else [*names, *_GROUPS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if not self._tree and cmd_name in _GROUPS:
            return _Group(cmd_name, tree=cmd_name, help=_GROUPS[cmd_name], no_args_is_help=True)
        entry = _TREE[self._tree].get(cmd_name)
        if entry is None:
            return None
        module, text = entry
        name = f"{self._tree}_{cmd_name}" if self._tree else cmd_name
        return _Lazy(cmd_name, module, name.replace("-", "_"), text)


@click.group(
    cls=_Group,
    help="Collegium: federated learning among institutions, with every round proven on a chain.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, help="Show the version.",
              callback=lambda context, _, value: _print_version(context) if value else None)  # fmt: skip
def cli() -> None:
    """Root of the tree."""


def _print_version(context: click.Context) -> None:
    from collegium_client import __version__

    click.echo(__version__)
    context.exit(0)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    try:
        result = cli.main(args=arguments, prog_name="collegium", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        if "--json" in (arguments if arguments is not None else sys.argv):
            failure = {"code": "usage", "message": error.format_message(), "hint": "See --help.", "retryable": False}
            envelope = {"schema": SCHEMA, "command": "", "ok": False, "data": None, "warnings": [], "error": failure}
            click.echo(json.dumps(envelope, indent=2))
        else:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; nothing is lost.", err=True)
        return 130
