"""Every field of a plan in words."""

from __future__ import annotations

from collegium.phases import compute_quorum
from collegium.records import ZERO32, Mode, Optimizer, Rule
from collegium.retention import read_days

from .reader import Reader
from .records import Amount, CidRef, Fact
from .replay import PLAN_BYTES, StudyLog
from .words import format_duration

__all__ = ["describe_plan"]

_MODES: dict[int, str] = {Mode.OPEN: "Open: updates are public to anyone, by each member's signed waiver"}
_RULES: dict[int, str] = {Rule.WEIGHTED_MEAN: "weighted mean, in exact integers"}
_OPTIMIZERS: dict[int, str] = {Optimizer.FEDAVG: "FedAvg"}


def describe_plan(reader: Reader, log: StudyLog) -> tuple[tuple[str, tuple[Fact, ...]], ...]:
    """Groups of facts, each with its heading."""
    return (
        ("Learning", _learning(reader, log)),
        ("Taking part", _membership(log)),
        ("Windows", _windows(log)),
        ("Money", _money(log)),
        ("Documents and digests", _documents(reader, log)),
        ("Keeping", _keeping(reader, log)),
    )


def _learning(reader: Reader, log: StudyLog) -> tuple[Fact, ...]:
    plan, section = log.view.plan, log.view.format.sections[0]
    published = reader.published(log.view)
    facts = [
        Fact("Mode", _MODES.get(plan.mode, f"mode {plan.mode}")),
        Fact("Rule", _RULES.get(plan.rule, f"rule {plan.rule}"), "how updates become one mean"),
        Fact(
            "Optimizer",
            f"{_OPTIMIZERS.get(plan.optimizer, f'optimizer {plan.optimizer}')},"
            f" server rate {plan.rate_numerator}/{plan.rate_denominator}",
            "how the mean moves the model",
        ),
        Fact("Model", f"{section.count:,} elements", f"32 bits each; {log.view.format.payload_bytes:,} bytes in all"),
        Fact("Scale", f"2^−{section.exponent}", "what one unit of an element stands for"),
        Fact("Bound", f"±{section.bound:,}", f"±{section.bound / 2**section.exponent:g} as a number, of an update"),
        Fact("Weighted", "yes" if section.weighted else "no", "whether a member's weight multiplies its update"),
    ]
    if published is not None and published.tensors:
        names = [f"{name} {'×'.join(map(str, shape)) or 'scalar'}" for name, shape in published.tensors[:40]]
        more = len(published.tensors) - len(names)
        facts.append(Fact("Tensors", ", ".join(names) + (f" and {more} more" if more > 0 else "")))
    return tuple(facts)


def _membership(log: StudyLog) -> tuple[Fact, ...]:
    plan = log.view.plan
    seated = sum(seat.left is None for seat in log.view.seats.values())
    return (
        Fact("Fewest members in a round", str(plan.min_clients), "with fewer the round aborts"),
        Fact("Most members", str(plan.max_members)),
        Fact(
            "Quorum",
            f"{compute_quorum(plan.quorum_min, seated)} of {seated} members now",
            f"more than half, at least {plan.quorum_min}: certificates for each update, endorsements of a result",
        ),
        Fact("Largest weight", f"{plan.max_weight:,}", "of one update"),
    )


def _windows(log: StudyLog) -> tuple[Fact, ...]:
    plan = log.view.plan
    rows = (
        ("Commit", plan.commit_window, "to train and commit"),
        ("Reveal", plan.reveal_window, "to open what was committed; who does not is fined"),
        ("Certify", plan.certify_window, "to attest what was fetched and checked"),
        ("Propose", plan.propose_window, "for the aggregator on duty; then the next one is, and the first is fined"),
        ("Challenge", plan.challenge_window, "to refute or endorse; ends at once when all have endorsed"),
        ("Evidence period", plan.evidence_period, "after a round is final: a proven fault still pays"),
    )
    return tuple(Fact(name, format_duration(seconds), note) for name, seconds, note in rows)


def _money(log: StudyLog) -> tuple[Fact, ...]:
    plan = log.view.plan
    rows = (
        ("Aggregator's bond", plan.aggregator_bond, "taken whole for a proven wrong result"),
        ("Unrevealed update", plan.unrevealed_fine, "committed and never revealed"),
        ("Out of range", plan.range_fine, "a signed update beyond the bound"),
        ("Two updates", plan.equivocation_fine, "signed for one round"),
        ("Missed duty", plan.duty_fine, "an aggregator proposed nothing in its turn"),
        ("Contradiction", plan.contradiction_fine, "a failed proposal with other roots than the final one"),
    )
    facts = [Fact(name, Amount(units), note) for name, units, note in rows]
    facts.append(Fact("Of a fine", "half burned, 30% to the challenger, 20% to the clients in the round"))
    return tuple(facts)


def _documents(reader: Reader, log: StudyLog) -> tuple[Fact, ...]:
    view = log.view
    plan = view.plan
    return (
        Fact("Plan", CidRef(view.plan_cid, "", PLAN_BYTES, "plan"), "what people read; canonical JSON"),
        Fact("Plan hash", "0x" + view.plan_hash.hex(), "what every member signed"),
        Fact("Agreement", _digest(plan.agreement), "digest of the data use agreement that members signed"),
        Fact("Task", _digest(plan.task_digest), "digest of the code that trains; each hospital approves it"),
        Fact("Reward terms", _digest(plan.reward_terms)),
        Fact("Privacy profiles", _digest(plan.privacy_profiles_hash)),
        Fact("Format", "0x" + plan.format_id.hex(), "format id: what the bytes of a model mean"),
        Fact("Referee", reader.party(plan.referee), "the contract that judges evidence; pinned for this study"),
        Fact(
            "Genesis model",
            reader.model(view, view.genesis_cid, plan.genesis_model_root, "genesis model"),
            "where training starts",
        ),
    )


def _keeping(reader: Reader, log: StudyLog) -> tuple[Fact, ...]:
    content = reader.source.document(log.view.plan_cid)
    if content is None:
        return (Fact("Updates", "not known", "the published plan says it, and it was not fetched"),)
    days = read_days(content)
    if days is None:
        return (Fact("Updates", "no term", "stores may keep members' updates for ever"),)
    return (Fact("Updates", f"{days:,} days", "then stores let go of them; their digests and weights stay on chain"),)


def _digest(value: bytes) -> str:
    return "none" if value == ZERO32 else "0x" + value.hex()
