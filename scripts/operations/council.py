"""What the council decides: collects k of n signatures and carries them to the chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from collegium.chain.abi import interface
from collegium.chain.client import Chain
from collegium.chain.signer import Signer
from collegium.council import Applicant, read_applicant
from collegium.messages import digest, pack_approvals
from collegium.records import Admit, AllowReferee, Message, checksum_address

from .sender import Mined, Sender, Transaction, drain, send

__all__ = ["Applicant", "admit", "allow_referee", "approve", "read_applicant"]

GOOD_FOR_SECONDS = 3600


def approve(chain: Chain, message: Message, signers: Sequence[Signer]) -> bytes:
    """Approvals as Members wants them: compact signatures, signers ascending."""
    hashed = digest(message, chain.domain("Members"))
    return pack_approvals(hashed, [signer.sign_digest(hashed) for signer in signers])


def admit(
    chain: Chain,
    sender: Sender,
    applicants: Sequence[Applicant],
    signers: Sequence[Signer],
    *,
    say: Callable[[str], None] = lambda line: None,
) -> list[Mined]:
    """Admit each with the signatures of `signers`; who is admitted already is passed over.

    Raises RevertedError (`MembersTooFewApprovals`) before anything is sent when the signers are too few.
    """
    drain(sender)
    mined = []
    for applicant in applicants:
        if chain.call("Members", "isActive", applicant.institution):
            say(f"{applicant.name} ({applicant.institution}) is admitted already")
            continue
        nonce = chain.call("Members", "nonceOf", applicant.institution)
        message = Admit(applicant.institution, applicant.profile, applicant.name, nonce, _deadline(chain))
        data = (
            interface("Members")
            .function("admit")
            .encode(
                (message.institution, message.profile, message.name, message.deadline, approve(chain, message, signers))
            )
        )
        transaction = Transaction(chain.address_of("Members"), data)
        done = send(sender, transaction)
        say(f"admitted {applicant.name:<24} {applicant.institution}  0x{done.hash.hex()}  {done.gas_used:,} gas")
        mined.append(done)
    if mined:
        sender.confirm(mined[-1])
    return mined


def allow_referee(
    chain: Chain, sender: Sender, referee: str, signers: Sequence[Signer], *, allowed: bool = True
) -> Mined | None:
    """Put a referee on the allowlist, or take it off. None when it is already so."""
    drain(sender)
    if is_allowed(chain, referee) == allowed:
        return None
    nonce = chain.call("Collegium", "nonceOf", referee)
    deadline = _deadline(chain)
    approvals = approve(chain, AllowReferee(checksum_address(referee), allowed, nonce, deadline), signers)
    data = interface("Collegium").function("allowReferee").encode((referee, allowed, deadline, approvals))
    transaction = Transaction(chain.address_of("Collegium"), data)
    mined = send(sender, transaction)
    sender.confirm(mined)
    return mined


def is_allowed(chain: Chain, referee: str) -> bool:
    """Whether the last word of the council on a referee was yes; read from the log."""
    event = interface("Collegium").events["RefereeAllowed"]
    logs = chain.rpc.request(
        "eth_getLogs",
        {
            "address": chain.address_of("Collegium"),
            "fromBlock": hex(chain.deployment.start_block),
            "topics": ["0x" + event.topic.hex(), "0x" + "00" * 12 + referee[2:].lower()],
        },
    )
    if not logs:
        return False
    topics = [bytes.fromhex(each[2:]) for each in logs[-1]["topics"]]
    return bool(event.decode(topics, bytes.fromhex(logs[-1]["data"][2:]))["allowed"])


def _deadline(chain: Chain) -> int:
    return chain.now() + GOOD_FOR_SECONDS
