"""From certified updates to a proposal: exact integers, the same bytes for anyone who computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collegium.commitment import compute_format_hash
from collegium.encoding import BlobKind, pack_blob
from collegium.records import Format, Plan
from collegium.storage.cid import Cid
from collegium.storage.store import Store
from collegium.tree import root_of
from collegium.verification import compute_round

__all__ = ["Aggregate", "Inputs", "Stored", "compute_aggregate", "store_aggregate"]


@dataclass(frozen=True)
class Inputs:
    """What a round's result is a function of.

    updates: int32 [leaves * 64] each, of the certified set in index order. weights: one per update.
    base: int32 [leaves * 64], the model the round started from.
    """

    plan: Plan
    format: Format
    ctx: bytes
    base: NDArray[np.int32]
    updates: Sequence[NDArray[np.int32]]
    weights: Sequence[int]


@dataclass(frozen=True)
class Aggregate:
    """mean and model: int32 [leaves * 64]."""

    mean: NDArray[np.int32]
    model: NDArray[np.int32]


@dataclass(frozen=True)
class Stored:
    """What a proposal names: roots of the payloads and CIDs of the blobs."""

    mean_root: bytes
    model_root: bytes
    mean_cid: Cid
    model_cid: Cid


def compute_aggregate(inputs: Inputs) -> Aggregate:
    """The rule and the server step of the plan (docs/protocol.md, arithmetic of a round)."""
    return Aggregate(*compute_round(inputs.updates, inputs.weights, inputs.base, inputs.plan, inputs.format))


def store_aggregate(result: Aggregate, *, ctx: bytes, fmt: Format, store: Store) -> Stored:
    """Pack mean and model as blobs of the round and keep them."""
    format_id = compute_format_hash(fmt)
    mean_cid = store.put(pack_blob(BlobKind.MEAN, result.mean, format_id=format_id, ctx=ctx))
    model_cid = store.put(pack_blob(BlobKind.MODEL, result.model, format_id=format_id, ctx=ctx))
    return Stored(root_of(result.mean), root_of(result.model), mean_cid, model_cid)
