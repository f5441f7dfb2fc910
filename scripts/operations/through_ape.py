"""Ape behind the `Sender` protocol: its accounts sign, its provider estimates and sends, its network says when
a transaction is confirmed.

    --network ethereum:local:http://127.0.0.1:8545     a devnet that runs already
    --network ethereum:local:foundry                   with APE_FOUNDRY_HOST for one that runs, else Ape starts one
    --network ethereum:sepolia:https://...             a live network
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ape.logging import logger

from collegium.chain import keystore
from collegium.chain.rpc import Rpc, to_int
from collegium.chain.signer import LocalSigner
from collegium.errors import KeyMissingError, KeystoreError, WrongPasswordError
from collegium.records import checksum_address

from . import sender as base
from .sender import Mined, SignedTransaction, Transaction

__all__ = ["ApeSender", "load_signers", "open_account"]

GAS_MARGIN_PERCENT = 110


class ApeSender:
    """An Ape account at the network that the command was started with."""

    def __init__(self, account: Any, provider: Any) -> None:
        self._account = account
        self._provider = provider
        self._rpc = Rpc(str(provider.http_uri or provider.connection_str))
        # Ape believes that every local network has the chain id 1337 and would sign for that one; the node knows.
        self._chain_id = to_int(self._rpc.request("eth_chainId"))

    @property
    def address(self) -> str:
        return checksum_address(str(self._account.address))

    @property
    def rpc(self) -> Rpc:
        return self._rpc

    @property
    def chain_id(self) -> int:
        return self._chain_id

    def sign(self, transaction: Transaction, nonce: int) -> SignedTransaction:
        fields: dict[str, Any] = {"nonce": nonce, "value": transaction.value}
        if transaction.to is not None:
            fields["receiver"] = transaction.to
        prepared = self._provider.network.ecosystem.create_transaction(
            data=transaction.data, sender=self.address, **fields
        )
        # Ape's own estimate hides the revert bytes, which say in our words what is wrong.
        prepared.gas_limit = base.estimate_gas(self._rpc, self.address, transaction)
        prepared = self._provider.prepare_transaction(prepared)
        prepared.chain_id = self.chain_id
        # Ape warns at every signature that the key is unlocked, which was asked for.
        with logger.at_level("ERROR"):
            signed = self._account.sign_transaction(prepared)
        if signed is None or signed.signature is None:
            raise KeyMissingError(
                f"{self.address} did not sign.", hint="Confirm the signature or pass a password file."
            )
        return SignedTransaction(bytes(signed.serialize_transaction()), bytes(signed.txn_hash), nonce)

    def broadcast(self, signed: SignedTransaction) -> None:
        base.broadcast(self._rpc, signed)

    def confirm(self, mined: Mined) -> None:
        """As many blocks as Ape's configuration asks of this network."""
        network = self._provider.network
        self._provider.get_receipt("0x" + mined.hash.hex(), required_confirmations=network.required_confirmations)


def open_account(name: str, password_file: Path | None = None) -> Any:
    """An Ape account: `TEST::0` of a devnet, an alias of `ape accounts`, or the path of a V3 keystore.

    Raises KeyMissingError or WrongPasswordError.
    """
    from ape import accounts

    if name.startswith("TEST::"):
        return accounts.test_accounts[int(name.removeprefix("TEST::"))]
    path = Path(name).expanduser()
    if path.is_file():
        from ape_accounts.accounts import KeyfileAccount

        account = KeyfileAccount(keyfile_path=path.resolve())
    elif name in accounts.aliases:
        account = accounts.load(name)
    else:
        raise KeyMissingError(
            f"There is no account {name}.",
            hint="Name an alias of `ape accounts list`, TEST::0 or the path of a keystore.",
        )
    if password_file is None and f"APE_ACCOUNTS_{account.alias}_PASSPHRASE" in os.environ:
        with logger.at_level("ERROR"):
            account.set_autosign(True)
        return account
    password = keystore.read_password(password_file, prompt=f"Password of {name}: ")
    try:
        with logger.at_level("ERROR"):
            account.set_autosign(True, passphrase=password)
    except Exception as error:
        raise WrongPasswordError(f"The password does not open {name}: {error}", hint="Check --password-file.") from None
    return account


def load_signers(paths: Sequence[Path], password_file: Path | None = None) -> list[LocalSigner]:
    """Council keys from V3 keystores that share a password file or are asked for one by one."""
    try:
        return [
            keystore.load(path, keystore.read_password(password_file, prompt=f"Password of {path.name}: "))
            for path in paths
        ]
    except KeystoreError as error:
        raise type(error)(error.message, hint="Pass --council-password-file for the council's keystores.") from error
