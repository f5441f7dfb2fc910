"""What every command shares: options, output, exit codes, confirmation.

Data goes to stdout, talk to stderr. With `--json` stdout holds exactly one envelope
`{"schema", "command", "ok", "data", "warnings", "error"}` (`--jsonl` streams of `round watch` and `train run` aside).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import rich_click as click
from click.exceptions import Exit

from collegium.errors import CollegiumError, ConfirmationRequiredError, InterruptedByUserError
from collegium.files import explain_disk

__all__ = [
    "SCHEMA",
    "App",
    "Parent",
    "Shown",
    "command",
    "name_of",
    "neutralize",
    "rpc_option",
    "run_command",
    "to_jsonable",
]

SCHEMA = "collegium.cli/1"


def neutralize(text: str) -> str:
    """Foreign text as a terminal may show it: control characters and text-direction overrides become visible.

    Names, titles and CIDs come from a chain that anybody writes to; an escape sequence could repaint a screen.
    """
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
        return character
    # Joiners are part of names in many scripts.
    return character if character in "\u200c\u200d" else f"\\u{ord(character):04x}"


@dataclass(frozen=True)
class Shown:
    """What a command found: `data` for machines, `text` for people."""

    data: Any
    text: str | Sequence[str] = ""
    exit_code: int = 0
    """For findings that are no errors of the program, such as 4 for a failed verification."""
    error: CollegiumError | None = None


@dataclass
class App:
    """One run of one command: its shared options, and where it speaks."""

    command: str
    home: Path
    json: bool = False
    yes: bool = False
    dry_run: bool = False
    password_file: Path | None = None
    debug: bool = False
    warnings: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        click.echo(neutralize(text), err=True)

    def warn(self, text: str) -> None:
        """A warning: on stderr, and in the envelope."""
        self.warnings.append(text)
        click.echo(_paint(f"warning: {neutralize(text)}", "yellow"), err=True)

    def ask(self, question: str, *, typed: str = "") -> None:
        """Let a person confirm; `typed` must then be typed in full. Raises when refused or when nobody can answer."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise ConfirmationRequiredError(
                f"{question} Nobody is here to confirm.", hint="Repeat the command with --yes once you are sure."
            )
        if typed:
            asked = f"{neutralize(question)} Type {typed!r} to go on"
            answer = click.prompt(asked, err=True, default="", show_default=False)
            agreed = answer.strip() == typed
        else:
            agreed = click.confirm(neutralize(question), err=True)
        if not agreed:
            raise ConfirmationRequiredError("Not confirmed; nothing was sent.", hint="Repeat it when you are sure.")

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A bar on a terminal, nothing elsewhere. Yields `advance(done, total)`."""
        if not sys.stderr.isatty() or self.json:
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def emit(self, shown: Shown) -> None:
        """Write the result to stdout."""
        if self.json:
            click.echo(json.dumps(self._envelope(shown.data, shown.error), indent=2))
            return
        for line in [shown.text] if isinstance(shown.text, str) else shown.text:
            if line:
                click.echo(neutralize(line))
        if shown.error is not None:
            _tell(shown.error)

    def emit_line(self, data: Any) -> None:
        """One line of newline-delimited JSON, for streams."""
        click.echo(json.dumps(to_jsonable(data), separators=(",", ":")))
        sys.stdout.flush()

    def fail(self, error: CollegiumError) -> None:
        """Report an error: in the envelope or on stderr."""
        if self.json:
            click.echo(json.dumps(self._envelope(None, error), indent=2))
        else:
            _tell(error)

    def _envelope(self, data: Any, error: CollegiumError | None) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "command": self.command,
            "ok": error is None,
            "data": to_jsonable(data),
            "warnings": self.warnings,
            "error": None if error is None else to_jsonable(error.to_json()),
        }


def _tell(error: CollegiumError) -> None:
    click.echo(_paint("error: ", "red") + neutralize(error.message), err=True)
    if error.hint:
        click.echo(f"  next: {neutralize(error.hint)}", err=True)


def _paint(text: str, color: str) -> str:
    return click.style(text, fg=color) if sys.stderr.isatty() and "NO_COLOR" not in os.environ else text


def to_jsonable(value: Any) -> Any:
    """JSON with 0x hex for bytes and decimal strings for integers that a JavaScript number cannot hold."""
    if isinstance(value, bytes | bytearray):
        return "0x" + bytes(value).hex()
    if isinstance(value, bool) or value is None or isinstance(value, float | str):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 53 else str(int(value))
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(item) for item in value]
    return str(value)


_SHARED = (
    click.Option(["--home"], type=click.Path(path_type=Path), envvar="COLLEGIUM_HOME", default=None,
                 help="Folder of this party [env COLLEGIUM_HOME; default: the folder of ./collegium.toml]."),
    click.Option(["--json", "as_json"], is_flag=True, help="One JSON object on stdout."),
    click.Option(["--debug"], is_flag=True, envvar="COLLEGIUM_DEBUG", help="Show the traceback of an error."),
)  # fmt: skip
_SIGNING = (
    click.Option(["--password-file"], type=click.Path(path_type=Path), default=None,
                 help="File with the keystore password [env COLLEGIUM_PASSWORD_FILE]."),
)  # fmt: skip
_SENDING = (
    click.Option(["--yes", "-y"], is_flag=True, help="Do not ask."),
    click.Option(["--dry-run"], is_flag=True, help="Check and show everything, send nothing."),
)


def command(
    *, signs: bool = False, sends: bool = False, name: str | None = None
) -> Callable[[Callable[..., Shown]], click.Command]:
    """Turn `function(app, **options) -> Shown` into a command with the shared options.

    `signs` adds the password option, `sends` also confirmation and `--dry-run`.
    """

    def decorate(function: Callable[..., Shown]) -> click.Command:
        parameters = list(reversed(getattr(function, "__click_params__", [])))
        parameters += [*(_SIGNING if signs or sends else ()), *(_SENDING if sends else ()), *_SHARED]

        def callback(**options: Any) -> None:
            context: Any = click.get_current_context()
            shared = ("home", "as_json", "debug", "password_file", "yes", "dry_run")
            given = {key: options.pop(key, None) for key in shared}
            app = App(
                command=name_of(context.command_path),
                home=find_home(given["home"]),
                json=bool(given["as_json"]),
                yes=bool(given["yes"]),
                dry_run=bool(given["dry_run"]),
                password_file=given["password_file"],
                debug=bool(given["debug"]),
            )
            context.exit(run_command(app, lambda: function(app, **options)))

        return click.RichCommand(
            name=name or function.__name__.replace("_", "-"),
            callback=callback,
            params=parameters,
            help=function.__doc__,
        )

    return decorate


class Parent(click.RichCommand):
    """A command with others below it: `collegium audit 1`, but also `collegium audit export`."""

    def __init__(self, own: click.Command, *below: click.Command) -> None:
        super().__init__(name=own.name, callback=own.callback, params=own.params, help=own.help)
        self.commands = {str(each.name): each for each in below}

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> Any:
        below = self.commands.get(args[0]) if args else None
        if below is not None:
            return below.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def name_of(command_path: str) -> str:
    """What the envelope calls a command: `collegium study list` is "study list", `collegium-coordinator run` is
    "coordinator run"."""
    program, _, rest = command_path.partition(" ")
    role = program.removeprefix("collegium").lstrip("-") if program.startswith("collegium") else ""
    return f"{role} {rest}".strip()


def rpc_option(text: str = "JSON-RPC address instead of the home's.") -> Callable[[Any], Any]:
    """`--rpc URL`, given as often as there are endpoints; the function gets `rpc_url`, one text or None."""
    return click.option(
        "--rpc", "--rpc-url", "rpc_url", multiple=True, help=f"{text} Repeat for more, asked in this order.",
        callback=lambda context, parameter, value: ", ".join(value) or None,
    )  # fmt: skip


def find_home(given: Path | None) -> Path:
    """The party's folder: as given, else the current one when it has a settings file, else ~/.collegium."""
    if given is not None:
        return given.expanduser().absolute()
    here = Path.cwd()
    return here if (here / "collegium.toml").exists() else Path("~/.collegium").expanduser()


def run_command(app: App, work: Callable[[], Shown]) -> int:
    """Run, report, and return the exit code."""
    out: IO[str] = sys.stdout
    caught: BaseException
    try:
        shown = work()
        app.emit(shown)
        out.flush()
        return shown.error.exit_code if shown.error is not None else shown.exit_code
    except CollegiumError as error:
        found = caught = error
    except KeyboardInterrupt as error:
        caught = error
        found = InterruptedByUserError("Interrupted.", hint="Nothing is lost: repeat the command to go on.")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return 1
    except (Exit, click.ClickException, click.Abort):
        raise
    except Exception as error:
        caught = error
        found = explain_disk(error) or CollegiumError(
            f"Unexpected {type(error).__name__}: {error}",
            hint="Repeat with --debug and report the traceback.",
        )
    if app.debug:
        traceback.print_exception(caught)
    app.fail(found)
    return found.exit_code
