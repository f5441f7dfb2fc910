"""What the annex says. It follows from the plan alone, so that its digest can be the plan's agreement.

Therefore the annex names neither the study's number nor the digests that depend on the agreement; those are on the
signature sheet. Every number in it is one of the plan.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Self

from collegium.amounts import format_tokens
from collegium.commitment import compute_plan_hash
from collegium.encoding import FormatTable
from collegium.errors import TableError, VerificationError
from collegium.phases import MAX_ATTEMPTS
from collegium.records import ZERO32, ZERO_ADDRESS, Plan
from collegium.retention import read_days
from collegium.storage.cid import cid_from_digest

from .render import Bullets, Document, Paragraph, Section, Table

__all__ = ["NO_AGREEMENT", "Terms", "build_annex", "build_sheet", "format_duration"]

NO_AGREEMENT = "The plan names no agreement"

# Weights are powers of 1.25, so half a step is the square root of that.
ROUNDED = "rounded within about 12 %"
WEIGHTED = f"the number of its training examples, {ROUNDED}, at most {{most:,}}"


@dataclass(frozen=True)
class Terms:
    """What the annex is made from. title, description: of the published plan, text of the sponsor's.

    parameters: numbers in the model. weighted: whether updates count by their number of examples.
    retention_days: None for no term.
    """

    plan: Plan
    title: str
    description: str
    parameters: int
    weighted: bool
    retention_days: int | None

    @classmethod
    def read(cls, plan: Plan, published: bytes) -> Self:
        """From the published plan's bytes, whose digest the plan names. Raises VerificationError."""
        try:
            content = json.loads(published)
            numbers = content["format"]
            rows = [(row["name"], row["shape"]) for row in numbers["tensors"]]
            table = FormatTable(rows, numbers["exponent"], numbers["bound"], numbers["weighted"])
            title, description = str(content["title"]), str(content["description"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, TableError) as error:
            raise VerificationError(f"The published plan is not readable: {error}.") from error
        return cls(plan, title, description, table.count, table.weighted, read_days(published))


def build_annex(terms: Terms) -> Document:
    """The annex of a plan."""
    return Document(
        f"Annex: what taking part in “{terms.title}” means",
        "Made by the program Collegium from the plan of the study, for those who decide whether an institution takes "
        "part. It explains the plan and adds nothing to it. Where the two differ, the plan decides.",
        (
            _words(),
            _purpose(terms),
            _leaves(terms),
            _for_ever(terms),
            _money(terms),
            _times(terms),
            _limits(),
            _retention(terms),
            _leaving(terms),
            _governance(),
            _digests(terms),
        ),
    )


def _words() -> Section:
    words = (
        ("study", "the joint training of one statistical model by the institutions that have joined"),
        ("chain", "a public ledger that many computers keep together; what was written there cannot be deleted"),
        ("contract", "a program on the chain that keeps the rules of the study and the deposits; nobody operates it"),
        ("model", "the list of numbers that is being learned; it holds no patient record"),
        ("update", "the change to the model that one institution computed from its own data in one round"),
        ("round", "one turn of the study: everybody computes an update, the updates are averaged, the model changes"),
        ("aggregator", "a party with a deposit that computes the average and proposes the new model"),
        ("digest", "a fingerprint of a text or file: two different files never have the same one in practice"),
        ("token", "the unit in which deposits are made, kept by a contract"),
        ("sponsor", "the party that created the study"),
        ("council", "the parties that admit and suspend institutions, by a number of signatures fixed at the start"),
    )
    return Section("Words", (Table(("Word", "Meaning"), words),))


def _purpose(terms: Terms) -> Section:
    plan = terms.plan
    weight = WEIGHTED.format(most=plan.max_weight) if terms.weighted else "one: all updates weigh the same"
    blocks: list[Paragraph | Bullets] = [
        Paragraph(f"Description by the sponsor: “{terms.description}”" if terms.description else
                  "The sponsor gave no description."),
        Bullets((
            f"The model has {terms.parameters:,} numbers.",
            f"At least {plan.min_clients} and at most {plan.max_members} institutions take part in a round.",
            "The new model is the old one plus the weighted average of the updates, times "
            f"{plan.rate_numerator}/{plan.rate_denominator}.",
            f"An update is used only when a majority of the members, and at least {plan.quorum_min}, have signed that "
            "they received it; a result becomes final only when as many have signed that it is right.",
            f"The weight of an institution's update is {weight}. The weight is public.",
            "The program that is run on the data (the task) is fixed by its digest, given at the end. It runs only "
            "after the institution has approved it, and without access to the network or to keys where the system "
            "can enforce that.",
        )),
    ]  # fmt: skip
    return Section("What is done", tuple(blocks))


def _leaves(terms: Terms) -> Section:
    table = Table(
        ("What", "Leaves the institution", "Who can see it"),
        (
            ("Patient records, images, labels", "never", "nobody outside"),
            ("The update of each round", "yes", "ANYBODY: it is stored without encryption"),
            ("The weight of the update" + (f" (number of examples, {ROUNDED})" if terms.weighted else ""), "yes",
             "anybody"),
            ("In each update: how many training steps it took, and from which round's model", "yes", "anybody"),
            ("When the institution took part, and when it did not", "yes", "anybody"),
            ("Its name as admitted, its addresses on the chain, its deposits and fines", "yes", "anybody"),
            ("How well the model does on its data", "no; kept in the institution's own log", "nobody outside"),
            ("Statements about updates of others (“I have it”, “the average is right”)", "yes, signed", "anybody"),
            ("Its network address and the times of its requests", "yes",
             "the coordinators, nodes, stores and chain servers that it speaks to, and the networks between"),
            ("The certificate of its encrypted connections, which names its node key", "yes",
             "whoever it connects to, or who connects to it"),
        ),
    )  # fmt: skip
    warning = Paragraph(
        "An update is no patient record, but it is computed from patient records. Research has shown that training "
        "examples, or whether somebody was among them, can in some cases be inferred from updates, most easily where "
        "the data set is small. This study publishes the updates themselves; no noise is added and they are not "
        "encrypted. By joining, an institution signs that it agrees to this (the waiver for open updates). Whether it "
        "may do so must be decided before it joins. The number of training steps can tell the number of examples, more "
        "closely than the weight does, where each step takes a fixed number of them."
    )
    return Section("What leaves the institution, and who sees it", (table, warning))


def _for_ever(terms: Terms) -> Section:
    items = (
        "the institution's address, the name under which the council admitted it, and its signing keys",
        "that it joined and left, when, what it agreed to, and the signature under it",
        "for each round: a digest of its update, its weight, the time, and whether it took part as promised",
        "for each update that it disclosed: the number of training steps it took, the round whose model it began from, "
        "and the number of the privacy profile",
        "its deposits, fines and rewards",
        "if an average is proven wrong, or an update out of limits: up to 64 numbers of each update concerned",
        "the digest of each model, who proposed it, and who confirmed it",
    )
    closing = Paragraph(
        "The chain cannot forget. Nobody can delete or correct these entries: no party, no court, not the authors of "
        "the program. An institution should take part only under a name and with keys that may stay public. The "
        "updates themselves are not on the chain; see the section on retention. Network addresses and the certificate "
        "are not on the chain either; who runs the program elsewhere may have kept them. Since the certificate names "
        "the node key, whoever saw both can tell which network address belongs to which institution."
    )
    return Section("What the chain shows for ever", (Bullets(items), closing))


def _money(terms: Terms) -> Section:
    plan = terms.plan
    least = max(plan.unrevealed_fine, plan.range_fine, plan.equivocation_fine)
    member = Table(
        ("What a member is fined for", "Tokens, each time"),
        (
            ("It promised an update (its digest is on the chain) and did not disclose it in time",
             format_tokens(plan.unrevealed_fine)),
            ("Its update leaves the limits that the plan sets for numbers", format_tokens(plan.range_fine)),
            ("It signed two different updates for one round", format_tokens(plan.equivocation_fine)),
        ),
    )  # fmt: skip
    aggregator = Table(
        ("What an aggregator is fined for", "Tokens, each time"),
        (
            ("It did not propose in time when it was its turn", format_tokens(plan.duty_fine)),
            ("It proposed an average or a model that was proven wrong",
             f"{format_tokens(plan.aggregator_bond)}: its whole deposit"),
            ("It proposed another result than the one that became final", format_tokens(plan.contradiction_fine)),
        ),
    )  # fmt: skip
    blocks = (
        Paragraph(
            "Joining locks tokens of the institution as a deposit. Fines are taken from this deposit by the contract, "
            "on proof, without anybody's discretion and without appeal."
        ),
        Paragraph(
            "All amounts here are numbers of tokens. This software does not set what a token is worth in money: that "
            "is agreed outside of it, and this annex names no sum of money."
        ),
        member,
        Paragraph(
            "The most that membership can ever cost is the amount that the institution signs when it joins and that is "
            f"locked from then on. It must be at least {format_tokens(least)} tokens; the program proposes "
            f"{format_tokens(least)}. Several fines add up until that amount is used up. Tokens that are not locked in "
            "this study cannot be taken by it. An institution that adds to its lock later puts that at risk, too, up "
            "to the amount it signed."
        ),
        Paragraph(
            f"An institution that also serves as an aggregator locks {format_tokens(plan.aggregator_bond)} tokens for "
            "that, apart from its deposit as a member."
        ),
        aggregator,
        Paragraph(
            "Of every fine, three tenths go to whoever proved the fault, one fifth is shared by the members whose "
            "updates were used, and the rest is destroyed. Where nobody proved it or nobody shares, that part is "
            "destroyed, too. The fees of the chain for each transaction are not part of this."
        ),
    )
    return Section("What can be taken, and how much at most", blocks)


def _times(terms: Terms) -> Section:
    plan = terms.plan
    most = plan.commit_window + plan.reveal_window + plan.certify_window
    most += MAX_ATTEMPTS * (plan.propose_window + plan.challenge_window)
    table = Table(
        ("Step of a round", "Time for it"),
        (
            ("Train, and promise the update by its digest", format_duration(plan.commit_window)),
            ("Disclose the update", format_duration(plan.reveal_window)),
            ("Confirm to have received the updates of the others", format_duration(plan.certify_window)),
            ("An aggregator proposes the average and the new model", format_duration(plan.propose_window)),
            ("Anybody may check the proposal and prove it wrong", format_duration(plan.challenge_window)),
            (f"Longest possible round, with {MAX_ATTEMPTS} proposals", format_duration(most)),
            ("A recorded result may still be proven wrong for", format_duration(plan.evidence_period)),
        ),
    )
    return Section("Times", (
        Paragraph("All times are of the chain's own clock. A step ends earlier when everybody has done it. Who "
                  "promises nothing in a round owes nothing in it; who has promised must disclose in time."),
        table,
    ))  # fmt: skip


def _limits() -> Section:
    items = (
        "That an institution trained at all, or on the data it named: only agreements and inspections can show that.",
        "That an update is harmless: one that was made to spoil the model or to plant a hidden behavior is averaged "
        "like any other.",
        f"That the weight (number of examples, {ROUNDED}) is true; the plan only limits it.",
        "That nobody copied the updates: they are public, and copies cannot be called back.",
        "That the model is fit for any medical use.",
        "A majority of the members together with an aggregator can make a wrong average final. It can still be "
        "proven wrong and fined within the time given above, and then stands on the record as disputed; it is not "
        "undone.",
    )
    return Section("What cannot be proven", (
        Paragraph("The chain proves that the published average is the average of the updates that were promised. It "
                  "does not prove:"),
        Bullets(items),
    ))  # fmt: skip


def _retention(terms: Terms) -> Section:
    if terms.retention_days is None:
        text = (
            "The plan sets no term: the stores of members and aggregators keep the updates until their operators "
            "delete them."
        )
    else:
        text = (
            f"The stores of members and aggregators delete the updates of a round {terms.retention_days} days after it "
            f"has ended, and not before {format_duration(terms.plan.evidence_period)} have passed, as they may be "
            "needed as proof. They do so by themselves once a day while the program runs. Models, averages and the "
            "plan are kept."
        )
    return Section("How long updates are kept", (
        Paragraph(text),
        Paragraph("This binds those who run the program as it is. Updates are public, so others may have made copies; "
                  "nobody can make them delete these. What is on the chain is never deleted."),
    ))  # fmt: skip


def _leaving(terms: Terms) -> Section:
    plan = terms.plan
    wait = plan.commit_window + plan.reveal_window + plan.certify_window + plan.evidence_period
    wait += MAX_ATTEMPTS * (plan.propose_window + plan.challenge_window)
    return Section("How to leave", (
        Bullets((
            "A member may leave at any time, without a reason and without a fine, with its institution key "
            "(“collegium leave”). Nobody else needs to agree.",
            "A round that is running ends with it; it takes part in none that opens later.",
            f"Its deposit is free {format_duration(wait)} after it left: until then, faults of the running round may "
            "still be fined. Then it is returned on request (“collegium stake claim”), whether the study goes on or "
            "not.",
            "Leaving withdraws nothing: its earlier updates stay part of the models and, for their term, in the "
            "stores.",
        )),
    ))  # fmt: skip


def _governance() -> Section:
    table = Table(
        ("Who", "May", "May not"),
        (
            ("The sponsor", "pause the study, resume it, close it for ever, set or extend the time until which rounds "
             "may open; open a round", "change the plan, take deposits, remove a member, stop a running round, change "
             "a result"),
            ("The council", "admit, suspend and reinstate institutions; remove a member from the study, without a "
             "fine; allow the contracts that judge faults", "change the plan, take deposits, change a result"),
            ("A member", "leave; refuse to confirm a wrong result; prove faults of others", "see data of others"),
            ("Anybody", "check every result; prove faults; write down what time has decided", "change anything"),
        ),
    )  # fmt: skip
    return Section("Who governs", (
        Paragraph("The plan cannot be changed once the study exists. Other terms need another study and another "
                  "signature of every institution."),
        table,
    ))  # fmt: skip


def _digests(terms: Terms) -> Section:
    plan = terms.plan
    open_terms = replace(plan, agreement=ZERO32, plan_digest=ZERO32, referee=ZERO_ADDRESS)
    rows = [
        ("Fingerprint of these terms", "0x" + compute_plan_hash(open_terms).hex()),
        ("Task: the program that runs on the data", plan.task_digest.hex()),
        ("First model", plan.genesis_model_digest.hex()),
        ("Form of the numbers", "0x" + plan.format_id.hex()),
        ("Terms of reward", _digest(plan.reward_terms)),
        ("Privacy profiles", _digest(plan.privacy_profiles_hash)),
    ]
    return Section("Digests", (
        Table(("Of what", "Digest"), tuple(rows)),
        Paragraph("The fingerprint of these terms is the digest of the whole plan without the agreement and without "
                  "the address of the contract that judges faults, which are fixed when the study is created. What an "
                  "institution signs covers these, too, and the waiver; see the signature sheet "
                  "(“collegium study annex N --sheet”)."),
        Paragraph("A plan may name no agreement. Then the institutions sign the plan and nothing beside it, neither a "
                  f"contract nor this annex, and the signature sheet says: “{NO_AGREEMENT}.” The same plan gives this "
                  "annex the same bytes with an agreement and without; the sheet also names the sponsor and the "
                  "chain, which are known only once the study exists."),
    ))  # fmt: skip


def _digest(value: bytes) -> str:
    return "none named" if value == ZERO32 else value.hex()


def build_sheet(
    terms: Terms, annex_digests: dict[str, str], *, study: int | None, sponsor: str | None,
    chain_id: int | None, contract: str,
) -> Document:  # fmt: skip
    """What an institution signs when it joins. annex_digests: SHA-256 of the annex by form. sponsor: None before."""
    plan = terms.plan
    least = max(plan.unrevealed_fine, plan.range_fine, plan.equivocation_fine)
    covered = [form for form, digest in annex_digests.items() if digest == plan.agreement.hex()]
    agreement = NO_AGREEMENT if plan.agreement == ZERO32 else plan.agreement.hex()
    if covered:
        agreement += f" (this annex, form {covered[0]})"
    rows = [
        ("Study", "not created yet" if study is None else str(study)),
        ("Chain", f"chain id {chain_id}" if chain_id is not None else "not known yet"),
        ("Contract of the studies", contract or "not known yet"),
        ("Plan (planHash)", "0x" + compute_plan_hash(plan).hex()),
        ("Published plan", cid_from_digest(plan.plan_digest, 0).text),
        ("Contract that judges faults", "set at creation" if plan.referee == ZERO_ADDRESS else plan.referee),
        ("Agreement, SHA-256 of its text", agreement),
        *((f"Annex, SHA-256 of the form {form}", digest) for form, digest in annex_digests.items()),
        ("Largest amount at risk as a member, at least", f"{format_tokens(least)} tokens"),
        ("Waiver", "openUpdates = true: “our updates are public to anybody”"),
    ]
    beside = (("Sponsor, who created the study", sponsor or "not created yet"),
              ("Worth of a token in money", "not set by this software: agreed outside of it"))  # fmt: skip
    return Document(
        f"Signature sheet of “{terms.title}”",
        "The institution key signs one message (Join) over the fields of section 1: with it, the institution agrees to "
        "the plan, the agreement, the waiver and the largest amount at risk. “collegium audit” shows the signature, "
        "its time and its transaction to anybody.",
        (
            Section("What is signed", (Table(("Field", "Value"), tuple(rows)),)),
            Section("What is not signed", (Table(("Of what", "Is"), beside),)),
        ),
    )


def format_duration(seconds: int) -> str:
    """Seconds in words, exact: 1 day 2 hours."""
    parts, rest = [], seconds
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts) or "no time"
