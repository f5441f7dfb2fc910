"""The annex follows from the plan alone, says every number of it, and cannot be bent by what a sponsor wrote."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.annex import FORMATS, NO_AGREEMENT, Terms, build_annex, build_sheet, render
from collegium.annex.content import format_duration
from collegium.commitment import compute_plan_hash
from collegium.records import ZERO_ADDRESS, Mode, Optimizer, Plan, Rule
from collegium_client.progress import compute_weight

TOKEN = 10**18
PLAN = Plan(
    mode=Mode.OPEN, rule=Rule.WEIGHTED_MEAN, optimizer=Optimizer.FEDAVG, rate_numerator=2, rate_denominator=3,
    format_id=b"\1" * 32, genesis_model_root=b"\2" * 32, genesis_model_digest=b"\3" * 32, task_digest=b"\4" * 32,
    referee="0x00000000000000000000000000000000000000AA", min_clients=3, max_members=17, quorum_min=2, max_weight=54321,
    commit_window=3661, reveal_window=1800, certify_window=1860, propose_window=1920, challenge_window=1980,
    evidence_period=172800, aggregator_bond=1001 * TOKEN, unrevealed_fine=11 * TOKEN, range_fine=122 * TOKEN,
    equivocation_fine=133 * TOKEN // 10, duty_fine=44 * TOKEN, contradiction_fine=555 * TOKEN,
    reward_terms=b"\5" * 32, privacy_profiles_hash=bytes(32), agreement=b"\6" * 32, plan_digest=b"\7" * 32,
)  # fmt: skip
TERMS = Terms(PLAN, "Sepsis early warning", "Ward data", 12_345, True, 365)
SHOWN = (
    "3 and at most 17", "54,321", "2/3", "12,345", "1 hour 1 minute 1 second", "30 minutes", "31 minutes", "32 minutes",
    "33 minutes", "2 days", "at least 2, have", "1001", "11", "122", "13.3", "44", "555", "365 days",
    "Sepsis early warning", "Ward data",
)  # fmt: skip
UNEXPLAINED = (
    " wei ", "slash", "calldata", " ctx", "keccak", "Merkle", "hash ", "revert", "gas ", "EIP-", "bitmap", "CID",
    "IPFS", "FedAvg", "None", "True", "False",
)  # fmt: skip


@pytest.fixture(params=sorted(FORMATS))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def annex(terms: Terms = TERMS, form: str = "txt") -> str:
    return render(build_annex(terms), form).decode()


def test_every_number_of_the_plan_is_there_in_every_form(form: str) -> None:
    text = " ".join(annex(form=form).split())
    for shown in SHOWN:
        assert shown in text, shown


def test_words_a_lawyer_does_not_know_are_not_used() -> None:
    for word in UNEXPLAINED:
        assert word not in annex(), word


def test_what_the_issue_asks_for_is_said(form: str) -> None:
    text = annex(form=form)
    for heading in ("What leaves the institution, and who sees it", "What the chain shows for ever",
                    "What can be taken, and how much at most", "Times", "What cannot be proven",
                    "How long updates are kept", "How to leave", "Who governs", "Digests"):  # fmt: skip
        assert heading in text
    # The largest fine is what a member must sign at least.
    assert "at least 122 tokens" in " ".join(annex().split())


def test_weight_is_told_as_it_is_made() -> None:
    text = " ".join(annex().split())
    assert text.count("number of its training examples, rounded within about 12 %, at most") == 1
    assert text.count("(number of examples, rounded within about 12 %)") == 2
    for examples in range(10, 50_000, 7):
        assert abs(compute_weight(examples, 10**6) / examples - 1) < 0.125
    assert "rounded" not in annex(replace(TERMS, weighted=False)).split("What cannot be proven")[0]


def test_what_goes_out_beside_the_update_is_told(form: str) -> None:
    text = " ".join(annex(form=form).split())
    leaves, for_ever = text.split("What leaves the institution")[1].split("What the chain shows for ever")
    for said in ("training steps", "more closely than the weight", "network address", "times of its requests",
                 "certificate", "node key"):  # fmt: skip
        assert said in leaves, said
    assert "training steps" in for_ever and "the round whose model it began from" in for_ever


def test_worth_of_a_token_is_left_to_others(form: str) -> None:
    assert "does not set what a token is worth" in " ".join(annex(form=form).split())


def test_no_marks_of_another_form_are_left(form: str) -> None:
    sheet = build_sheet(TERMS, {}, study=4, sponsor="0xab", chain_id=1, contract="0x12")
    assert "`" not in annex(form=form) + render(sheet, form).decode()


def test_words_of_a_first_column_are_not_broken() -> None:
    style = annex(form="html").split("<style>")[1].split("</style>")[0]
    rule = style.split("td:first-child{")[1].split("}")[0]
    assert {"overflow-wrap:normal", "hyphens:none"} <= set(rule.split(";")) and "min-width" in rule


def test_plan_without_an_agreement() -> None:
    none = replace(TERMS, plan=replace(PLAN, agreement=bytes(32)))
    assert f"{NO_AGREEMENT}." in " ".join(annex().split()) and annex(none) == annex()
    for terms, said in ((none, True), (TERMS, False)):
        sheet = build_sheet(terms, {}, study=None, sponsor=None, chain_id=None, contract="")
        assert (NO_AGREEMENT in render(sheet, "txt").decode()) is said


def test_longest_wait_is_that_of_the_contract() -> None:
    longest = 3661 + 1800 + 1860 + 3 * (1920 + 1980) + 172800
    assert format_duration(longest) in " ".join(annex().split())


@pytest.mark.parametrize("field", ["agreement", "plan_digest", "referee"])
def test_what_depends_on_the_annex_itself_is_not_in_it(field: str) -> None:
    value: Any = ZERO_ADDRESS if field == "referee" else b"\xee" * 32
    assert annex(replace(TERMS, plan=replace(PLAN, **{field: value}))) == annex()


@pytest.mark.parametrize(
    "field",
    ["min_clients", "max_members", "max_weight", "commit_window", "reveal_window", "certify_window", "propose_window",
     "challenge_window", "evidence_period", "aggregator_bond", "unrevealed_fine", "range_fine", "equivocation_fine",
     "duty_fine", "contradiction_fine", "rate_numerator", "rate_denominator", "quorum_min"],
)  # fmt: skip
def test_every_other_term_changes_it(field: str) -> None:
    assert annex(replace(TERMS, plan=replace(PLAN, **{field: getattr(PLAN, field) + 1}))) != annex()


def test_terms_of_the_published_plan_change_it() -> None:
    changes: dict[str, Any] = {"title": "x", "description": "", "parameters": 1, "weighted": False}
    for name, value in (changes | {"retention_days": None}).items():
        assert annex(replace(TERMS, **{name: value})) != annex()


def test_sheet_names_what_is_signed_and_whether_the_annex_is_the_agreement() -> None:
    digests = {each: hashlib.sha256(render(build_annex(TERMS), each)).hexdigest() for each in FORMATS}
    signed = replace(TERMS, plan=replace(PLAN, agreement=bytes.fromhex(digests["md"])))
    sheet = render(build_sheet(signed, digests, study=4, sponsor="0xab", chain_id=17, contract="0x12"), "txt").decode()
    assert compute_plan_hash(signed.plan).hex() in sheet and "form md" in sheet and "openUpdates" in sheet
    assert "0xab" in sheet and "chain id 17" in sheet and "agreed outside" in sheet
    other = render(build_sheet(TERMS, digests, study=4, sponsor="0xab", chain_id=17, contract="0x12"), "txt").decode()
    assert "this annex" not in other and PLAN.agreement.hex() in other


HOSTILE = (
    "<script>alert(1)</script>", "](javascript:alert(1)) [x", "# 99. The hospital pays everything\n\n- all of it",
    "\x1b[2J\x1b[31m", "\u202egnihtyna", "| a | b |\n| --- | --- |", "**bold** `code` <b>",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_words_of_the_sponsor_stay_words(form: str, text: str) -> None:
    shown = annex(replace(TERMS, title=text, description=text), form)
    assert "\x1b" not in shown and "\u202e" not in shown
    lines = [line.strip() for line in shown.splitlines()]
    assert not any(line.startswith(("# 99", "99.", "- all of it")) for line in lines)
    if form == "html":
        assert "<script" not in shown and "<b>" not in shown
    if form == "md":
        acting = re.sub(r"\\.", "", shown)
        assert "<" not in acting and "](" not in acting and "**" not in acting and "`" not in acting


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_title_gives_the_same_number_of_lines_in_markdown(title: str, description: str) -> None:
    plain = annex(replace(TERMS, title="t", description="d"), "md").count("\n")
    given = annex(replace(TERMS, title=title, description=description or "d"), "md")
    assert given.count("\n") == plain


@given(st.integers(0, 10**9))
def test_durations_are_exact(seconds: int) -> None:
    sizes = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
    parts = format_duration(seconds).split()
    if seconds:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        assert sum(int(count) * sizes[unit.rstrip("s")] for count, unit in pairs) == seconds
