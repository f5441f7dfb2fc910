"""Every command that a document shows, and every command there is, is run by a test: on a page that a test types in
whole, or in a test that is named here."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rich_click as click

from collegium.cli.framework import Parent
from scripts.setup.paths import ROOT
from tests.docs.pages import pages
from tests.docs.test_commands import PROGRAMS, shown, typed
from tests.docs.test_quickstarts import BY_HAND

Words = tuple[str, ...]

TYPED = {
    **{f"docs/quickstart/{role}.md": "tests/docs/test_quickstarts.py"
       for role in ("operator", "hospital", "coordinator", "auditor", "lawyer")},
    "docs/sepolia.md": "tests/docs/test_sepolia.py",
    "docs/audit-on-a-block-explorer.md": "tests/docs/test_explorer_page.py",
}  # fmt: skip
"""Pages whose every `sh` block a test runs."""

ELSEWHERE = {
    "council suspend": "tests/client/test_council.py",
    "council show": "tests/client/test_council.py",
    "config show": "tests/client/test_cli.py",
    "devnet status": "tests/client/test_cli.py",
    "explore": "tests/explorer/test_commands.py",
    "health": "tests/flows/test_observed.py",
    "institution status": "tests/client/test_cli.py",
    "keys revoke": "tests/flows/test_drills.py",
    "keys rotate": "tests/flows/test_drills.py",
    "log show": "tests/client/test_log_and_health.py",
    "model compare": "tests/flows/test_data_scientist.py",
    "model export": "tests/flows/test_data_scientist.py",
    "stake claim": "tests/flows/test_drills.py",
    "stake withdraw": "tests/flows/test_drills.py",
    "store cid": "tests/client/test_store.py",
    "store export": "tests/client/test_store.py",
    "store import": "tests/client/test_store.py",
    "store list": "tests/client/test_store.py",
    "store prune": "tests/flows/test_auditor_and_lawyer.py",
    "store put": "tests/client/test_store.py",
    "store remove": "tests/client/test_store.py",
    "store swarm-init": "tests/storage/test_swarm.py",
    "store verify": "tests/client/test_store.py",
    "study list": "tests/client/test_cli.py",
    "study open": "tests/client/test_governance.py",
    "study remove-member": "tests/client/test_governance.py",
    "tls ca": "tests/client/test_tls.py",
    "tls install": "tests/client/test_tls.py",
    "tls new": "tests/client/test_tls.py",
    "tls show": "tests/client/test_tls.py",
    "version": "tests/client/test_cli.py",
}
"""Further commands of `collegium`, which the file calls with these words one after the other."""

TOOLS = {
    "ape run create_study": ("tests/scripts/test_ape.py", 'ape("create_study"'),
    "make abi": ("tests/contract_source/test_release.py", "standard_json.find_stale()"),
    "make audit-deps": ("tests/test_dependencies.py", "ask("),
    "make bench": ("tests/scripts/test_cost.py", "gas_table.build("),
    "make bench-soak": ("tests/soak/test_soak.py", "benchmarks.soak"),
    "make coverage": ("tests/security/test_attack_table.py", "coverage.compare("),
    "make demo": ("tests/flows/test_demo.py", "scripts.demo"),
    "make fuzz": ("tests/fuzz/mutations.py", "COLLEGIUM_FUZZ"),
    "make help": ("tests/docs/test_every_command_is_run.py", '"make", "help"'),
    "make mutants": ("tests/security/test_attack_table.py", "coverage"),
    "make release": ("tests/release/test_packages.py", "scripts.release"),
    "make sbom": ("tests/release/test_packages.py", "make_sbom("),
    "make slither": ("tests/security/test_attack_table.py", "slither.compare("),
    "make test": (".ci/run", "make test"),
    "make wheel": ("tests/release/conftest.py", "build("),
    "make setup": ("tests/test_setup.py", "scripts.setup"),
    "python -m benchmarks": ("tests/scripts/test_cost.py", "from benchmarks import"),
    "python -m benchmarks.gas_table": ("tests/scripts/test_cost.py", "gas_table.write("),
    "python -m benchmarks.soak": ("tests/soak/test_soak.py", "benchmarks.soak"),
    "python -m scripts.export_abi": ("Makefile", "scripts.export_abi --check"),
    "python -m scripts.make_vectors": ("tests/core/test_vectors.py", "make_vectors.render("),
    "python -m scripts.security.slither": ("tests/security/test_attack_table.py", "slither.compare("),
}
"""Tools of a clone: where the work of each is run, and by which words. What needs minutes or a network (slither,
coverage, long fuzzing, advisories, benchmarks) has a target of its own; the named test runs what judges its result."""


def every_path() -> Iterator[Words]:
    """Each command of our programs that can be called."""

    def walk(found: Any, path: Words) -> Iterator[Words]:
        if isinstance(found, click.Group):
            context = click.Context(found)
            for name in found.list_commands(context):
                yield from walk(found.get_command(context, name), (*path, name))
            return
        yield path
        loaded = found.load()
        if isinstance(loaded, Parent):
            yield from ((*path, name) for name in loaded.commands)

    for program, tree in PROGRAMS.items():
        yield from walk(tree, (program,))


COMMANDS = frozenset(every_path())


def paths(command: str) -> Iterator[str]:
    """Which commands a shown line calls; nothing for a group alone or for a line that lists several (`a|b`)."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        words = command.split()
    if words[0] in PROGRAMS:
        longest = max((each for each in COMMANDS if tuple(words[: len(each)]) == each), key=len, default=())
        if longest:
            yield " ".join(longest)
    elif words[0] == "make":
        yield from (f"make {word}" for word in words[1:] if re.fullmatch(r"[a-z-]+", word))
    else:
        yield " ".join(words[:3])


def shown_anywhere() -> dict[str, set[str]]:
    """Command to the pages that show it."""
    found: dict[str, set[str]] = {}
    for page in pages():
        for _, command in shown(page):
            for path in paths(command):
                found.setdefault(path, set()).add(str(page.relative_to(ROOT)))
    return found


def typed_in_whole() -> set[str]:
    """Commands in the blocks of the pages that tests type."""
    lines = [command for page in TYPED for _, command in shown(ROOT / page, inline=False)]
    return {path for command in [*lines, *typed(BY_HAND)] for path in paths(command)}


def is_run(command: str, whole: set[str]) -> bool:
    return command in whole or command in TOOLS or command.removeprefix("collegium ") in ELSEWHERE


def test_every_command_is_run_by_a_test() -> None:
    whole = typed_in_whole()
    wanted = {" ".join(path): {"the command tree"} for path in COMMANDS} | shown_anywhere()
    left = {command: where for command, where in sorted(wanted.items()) if not is_run(command, whole)}
    assert not left, "\n".join(f"{command}: shown in {', '.join(sorted(where))}" for command, where in left.items())


def test_a_command_that_no_test_runs_is_found() -> None:
    whole = typed_in_whole()
    assert not is_run("collegium study burn", whole) and not is_run("make coffee", whole)
    assert is_run("collegium study pause", whole) and is_run("collegium-coordinator enlist", whole)


@pytest.mark.parametrize(("page", "test"), TYPED.items(), ids=TYPED)
def test_pages_are_typed_by_their_test(page: str, test: str) -> None:
    text = (ROOT / test).read_text(encoding="utf-8")
    assert (ROOT / page).exists()
    assert Path(page).name in text or f'"{Path(page).stem}"' in text, f"{test} does not name {page}"


@pytest.mark.parametrize("command", ELSEWHERE)
def test_named_tests_call_the_command(command: str) -> None:
    text = (ROOT / ELSEWHERE[command]).read_text(encoding="utf-8")
    words = r"""["'],\s*["']""".join(map(re.escape, command.split()))
    assert re.search(rf"""["']{words}["']""", text), f"{ELSEWHERE[command]} does not call it"


@pytest.mark.parametrize("tool", TOOLS)
def test_named_tests_use_the_tool(tool: str) -> None:
    place, words = TOOLS[tool]
    assert words in (ROOT / place).read_text(encoding="utf-8"), f"{place} does not say {words}"


def test_nothing_is_listed_in_vain() -> None:
    whole, known = typed_in_whole(), {" ".join(path) for path in COMMANDS}
    assert not [each for each in ELSEWHERE if f"collegium {each}" not in known]
    assert not [each for each in ELSEWHERE if f"collegium {each}" in whole], "a page shows it already"
    assert not set(TOOLS) - set(shown_anywhere()), "no page shows it any more"


def test_make_help_lists_what_pages_show() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
    listed = set(re.findall(r"^  ([a-z-]+) ", done.stdout, re.MULTILINE))
    assert {tool.removeprefix("make ") for tool in TOOLS if tool.startswith("make ")} <= listed
