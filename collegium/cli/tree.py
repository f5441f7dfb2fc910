"""A command tree by name only: `--help` imports none of the commands.

    cli = make_cli(package="collegium_client.cli", tree={"": {"init": ("setup", "Make a home.")}}, groups={}, ...)

The command `study create` is the function `study_create` of the module that the tree names; one of the first level,
under the group "", has its own name.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any

import rich_click as click

from .framework import SCHEMA, name_of

__all__ = ["Tree", "make_cli", "run"]

Tree = Mapping[str, Mapping[str, tuple[str, str]]]
"""group -> command -> (module, help)."""


class _Lazy(click.RichCommand):
    """A command that is listed by name and imported when it is reached."""

    def __init__(self, name: str, module: str, function: str, text: str) -> None:
        super().__init__(name=name, help=text)
        self._module, self._function = module, function

    def load(self) -> click.RichCommand:
        """The command itself."""
        loaded: click.RichCommand = getattr(importlib.import_module(self._module), self._function)
        loaded.name = self.name
        return loaded

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> Any:
        made: Any = self.load().make_context(info_name, args, parent, **extra)
        return made


class _Group(click.RichGroup):
    """A group that knows its commands by name."""

    def __init__(
        self,
        *args: Any,
        package: str,
        tree: Tree,
        groups: Mapping[str, str],
        group: str = "",
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._package, self._tree, self._groups, self._group = package, tree, groups, group

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = list(self._tree[self._group])
        return names if self._group else [*names, *self._groups]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if not self._group and cmd_name in self._groups:
            return _Group(
                cmd_name,
                package=self._package,
                tree=self._tree,
                groups=self._groups,
                group=cmd_name,
                help=self._groups[cmd_name],
                no_args_is_help=True,
            )
        entry = self._tree[self._group].get(cmd_name)
        if entry is None:
            return None
        module, text = entry
        name = f"{self._group}_{cmd_name}" if self._group else cmd_name
        return _Lazy(cmd_name, f"{self._package}.{module}", name.replace("-", "_"), text)


def make_cli(*, package: str, version: str, help: str, tree: Tree, groups: Mapping[str, str]) -> click.Group:
    """The root of a program's commands. package: where the modules are. version: module with `__version__`."""

    @click.group(
        cls=_Group,
        package=package,
        tree=tree,
        groups=groups,
        help=help,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        no_args_is_help=True,
    )
    @click.option("--version", is_flag=True, expose_value=False, is_eager=True, help="Show the version.",
                  callback=lambda context, _, value: _print_version(context, version) if value else None)  # fmt: skip
    def cli() -> None:
        """Root of the tree."""

    made: click.Group = cli
    return made


def _print_version(context: click.Context, module: str) -> None:
    click.echo(importlib.import_module(module).__version__)
    context.exit(0)


def run(cli: click.Group, program: str, arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    try:
        result = cli.main(args=arguments, prog_name=program, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        if "--json" in (arguments if arguments is not None else sys.argv):
            click.echo(json.dumps(_usage(error), indent=2))
        else:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; nothing is lost.", err=True)
        return 130


def _usage(error: click.ClickException) -> dict[str, Any]:
    """The envelope of a command line that was not understood."""
    context: click.Context | None = getattr(error, "ctx", None)
    return {
        "schema": SCHEMA,
        "command": name_of(context.command_path) if context else "",
        "ok": False,
        "data": None,
        "warnings": [],
        "error": {
            "code": "usage",
            "message": error.format_message(),
            "hint": "See --help.",
            "retryable": False,
            "evidence": {},
        },
    }
