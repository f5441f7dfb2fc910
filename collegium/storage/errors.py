"""Reasons that only stores have; everything else about blobs is in `collegium.errors`."""

from __future__ import annotations

from collegium.errors import (
    BlobError,
    BlobNotFoundError,
    ConfigError,
    PreconditionError,
    UnreachableError,
    UsageError,
    VerificationError,
)

__all__ = [
    "BlobCorruptError",
    "BlobUnavailableError",
    "CarBlockError",
    "CarError",
    "CarMissingBlockError",
    "CarRootError",
    "CarTrailingBytesError",
    "CarTruncatedError",
    "KuboFailedError",
    "KuboMissingError",
    "StoreAddressError",
    "StoreAnswerError",
    "StoreFolderError",
    "StoreReadOnlyError",
    "StoreRequestError",
    "UnixFsError",
]


class UnixFsError(BlobError):
    """A block has the right hash but is not the node the profile prescribes."""

    code = "unixfs_invalid"


class BlobCorruptError(BlobNotFoundError):
    """The store had a file of that name with other content; it was set aside and counts as missing."""

    code = "blob_corrupt"


class BlobUnavailableError(BlobNotFoundError):
    """No store gave the blob; `answers` lists what each of them said, `liars` those that sent other bytes."""

    code = "blob_unavailable"


class StoreAddressError(ConfigError):
    """The address of a store cannot be understood."""

    code = "store_address_invalid"


class StoreFolderError(PreconditionError):
    """The folder of a store cannot be used."""

    code = "store_folder"


class StoreRequestError(UsageError):
    """A request to a store lacks something or carries it in the wrong form."""

    code = "store_request_invalid"


class StoreAnswerError(UnreachableError):
    """A store answered something that no store of its kind answers."""

    code = "store_answer"
    retryable = False


class StoreReadOnlyError(PreconditionError):
    """The store is only read from: an archive, a public gateway."""

    code = "store_read_only"


class CarError(VerificationError):
    """A file is no CAR archive, or not one of the kind accepted here."""

    code = "car_invalid"


class CarTruncatedError(CarError):
    """An archive ends inside its header, inside a block, or before the end it announces."""

    code = "car_truncated"


class CarBlockError(CarError):
    """A block of an archive has other bytes than its CID says."""

    code = "car_block_mismatch"


class CarTrailingBytesError(CarError):
    """An archive goes on behind its last block."""

    code = "car_trailing_bytes"


class CarMissingBlockError(CarError):
    """An archive lacks a block of a blob it should hold; `cid` is the blob, `block` what is missing."""

    code = "car_missing_block"


class CarRootError(CarError):
    """An archive has other roots than expected."""

    code = "car_wrong_root"


class KuboMissingError(PreconditionError):
    """There is no `ipfs` executable, or it does not run."""

    code = "kubo_missing"


class KuboFailedError(UnreachableError):
    """A Kubo daemon did not start, or refused a request."""

    code = "kubo_failed"
    retryable = False
