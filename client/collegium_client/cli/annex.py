"""study annex: the plan in plain words, for lawyers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import CollegiumError, UsageError

if TYPE_CHECKING:
    from collegium.annex import Terms
    from collegium_client.home import Home

__all__ = ["study_annex"]


@command()
@click.argument("study", type=int, required=False)
@click.option("--plan", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Plan file instead.")
@click.option("--format", "form", type=click.Choice(["md", "html", "txt"]), default="md", show_default=True)
@click.option("--lang", type=click.Choice(["en"]), default="en", show_default=True)
@click.option("--sheet", is_flag=True, help="The signature sheet instead: every digest that a member signs.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
def study_annex(
    app: App, study: int | None, plan: Path | None, form: str, lang: str, sheet: bool, output: Path | None
) -> Shown:
    """Say in plain words what the plan of STUDY means: the annex to an agreement.

    What leaves the hospital, what the chain shows for ever, what can be slashed, what cannot be proven. The same plan
    gives the same bytes, before the study is created (--plan plan.toml) and after.
    """
    from collegium.annex import FORMATS, NO_AGREEMENT, build_annex, build_sheet, render
    from collegium.files import write_atomically
    from collegium.records import ZERO32
    from collegium_client.home import Home

    if (study is None) == (plan is None):
        raise UsageError("Which study?", hint="collegium study annex N, or --plan plan.toml before it is created.")
    home = Home(app.home)
    found = _of_study(home, study) if study is not None else _of_file(app, home, plan)
    terms = found.terms
    if terms.plan.agreement == ZERO32:
        # Not in the annex itself: its digest may become the plan's agreement.
        app.warn(f"{NO_AGREEMENT}.")
    annex = build_annex(terms)
    texts = {each: render(annex, each) for each in FORMATS}
    digests = {each: hashlib.sha256(text).hexdigest() for each, text in texts.items()}
    text = texts[form]
    if sheet:
        shown = build_sheet(
            terms, digests, study=study, sponsor=found.sponsor, chain_id=found.chain_id, contract=found.contract
        )
        text = render(shown, form)
    data = {
        "study": study, "format": form, "language": lang, "annex_sha256": digests,
        "agreement": terms.plan.agreement.hex(), "sha256": hashlib.sha256(text).hexdigest(),
        "is_agreement": terms.plan.agreement.hex() in digests.values(), "file": str(output) if output else None,
    }  # fmt: skip
    if output is None:
        return Shown({**data, "text": text.decode()}, text.decode().rstrip("\n"))
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output.absolute().parent} is no folder.", hint="Make it, or name another file.")
    write_atomically(output.absolute(), text)
    lines = [f"{output}: SHA-256 {data['sha256']}"]
    if study is None and not sheet:
        lines.append(f'To make it the agreement, set [study] agreement = "{output.name}" in the plan.')
    return Shown(data, lines)


@dataclass(frozen=True)
class _Found:
    """The terms, and what only the sheet names. sponsor, chain_id: None when not known."""

    terms: Terms
    sponsor: str | None
    chain_id: int | None
    contract: str


def _of_study(home: Home, study: int) -> _Found:
    from collegium.annex import Terms
    from collegium_client.session import open_study, read_plan

    home.require()
    chain = home.chain()
    view = open_study(home, chain, study)
    published = read_plan(home.blobs(view.format, chain.chain_id), view)
    terms = Terms.read(view.plan, published.to_json())
    return _Found(terms, view.sponsor, chain.chain_id, chain.address_of("Collegium"))


def _of_file(app: App, home: Home, path: Path | None) -> _Found:
    from collegium.annex import Terms
    from collegium.records import ZERO_ADDRESS

    from .study import draft_plan

    assert path is not None
    chain_id, contract, referee = None, "", ZERO_ADDRESS
    try:
        chain = home.chain()
        chain_id, contract, referee = chain.chain_id, chain.address_of("Collegium"), chain.address_of("Referee")
    except CollegiumError as error:
        # The annex needs no chain; only the sheet names the contracts.
        app.say(f"Without a chain ({error.code}): the signature sheet lacks what creation fixes.")
    draft = draft_plan(app, home, path, referee)
    return _Found(Terms.read(draft.plan, draft.content), None, chain_id, contract)
