"""V3 keystores: one encrypted file per key, the same that Ape and `cast wallet` read.

A password comes from `--password-file`, from the file that `COLLEGIUM_PASSWORD_FILE` names, or from a prompt;
never from a command line or an environment variable itself.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Any

from collegium.crashpoints import crashpoint, register
from collegium.errors import KeyExistsError, KeyMissingError, KeystoreError, WrongPasswordError
from collegium.files import write_atomically
from collegium.records import checksum_address

from .signer import LocalSigner

__all__ = [
    "PASSWORD_FILE_VARIABLE",
    "address_of",
    "change_password",
    "create",
    "find_loose_permissions",
    "load",
    "read_password",
    "save",
]

PASSWORD_FILE_VARIABLE = "COLLEGIUM_PASSWORD_FILE"
LIGHT_SCRYPT = 4096
"""scrypt cost of throw-away keys on a devnet; others take eth_account's default (2^18)."""

register("keystore.encrypted", "keystore.written")


def create(path: Path, password: str, *, light: bool = False) -> LocalSigner:
    """Make a key and keep it encrypted at `path` (mode 0600).

    light: cheap key derivation, only for keys without value on a devnet.
    Raises KeyExistsError: there is a file already; it is left as it is.
    """
    signer = LocalSigner(_random_key())
    save(path, signer, password, light=light)
    return signer


def save(path: Path, signer: LocalSigner, password: str, *, light: bool = False) -> None:
    """Keep an existing key encrypted at `path`. Raises KeyExistsError."""
    if path.exists():
        raise KeyExistsError(
            f"There is a key at {path} already.",
            hint="Choose another alias; a key that was overwritten is lost for ever.",
            path=str(path),
        )
    text = _encrypt(signer, password, light=light)
    crashpoint("keystore.encrypted")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, text.encode(), mode=0o600, exclusive=True)
    crashpoint("keystore.written")


def load(path: Path, password: str) -> LocalSigner:
    """Decrypt the key at `path`.

    Raises KeyMissingError, WrongPasswordError, or KeystoreError when the file is no V3 keystore.
    """
    from eth_account import Account

    content = _read(path)
    try:
        return LocalSigner(bytes(Account.decrypt(content, password)))
    except ValueError as error:
        if "MAC" in str(error):
            raise WrongPasswordError(
                f"The password does not open {path}.",
                hint=f"Check --password-file or {PASSWORD_FILE_VARIABLE}; a trailing line end is ignored.",
                path=str(path),
            ) from None
        raise KeystoreError(
            f"{path} is not a V3 keystore: {error}.", hint="Restore it from a backup.", path=str(path)
        ) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise KeystoreError(
            f"{path} is not a V3 keystore.", hint="Restore it from a backup.", path=str(path)
        ) from error


def address_of(path: Path) -> str | None:
    """The address that the file names, without a password; None when it names none (`cast` writes none)."""
    address = _read(path).get("address")
    return checksum_address(address) if isinstance(address, str) else None


def change_password(path: Path, old: str, new: str, *, light: bool = False) -> None:
    """Encrypt the key anew; the file is replaced in one step. Raises as `load` does."""
    signer = load(path, old)
    write_atomically(path, _encrypt(signer, new, light=light).encode(), mode=0o600)


def read_password(password_file: Path | None = None, *, prompt: str = "Password: ", confirm: bool = False) -> str:
    """The password from the file given, else from the file the environment names, else from a prompt.

    confirm: ask twice. Raises KeystoreError when there is neither a file nor a terminal.
    """
    named = password_file or os.environ.get(PASSWORD_FILE_VARIABLE)
    if named:
        try:
            return Path(named).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise KeystoreError(
                f"Cannot read the password file {named}: {error}.", hint="Check its path and mode."
            ) from error
    if not sys.stdin.isatty():
        raise KeystoreError(
            "A password is needed and there is no terminal to ask on.",
            hint=f"Pass --password-file or set {PASSWORD_FILE_VARIABLE}.",
        )
    password = getpass.getpass(prompt)
    if confirm and getpass.getpass("Again: ") != password:
        raise KeystoreError("The two passwords differ.", hint="Try again.")
    return password


def find_loose_permissions(path: Path) -> str | None:
    """What is wrong with the mode of a keystore file, with the command that mends it; None when nothing is."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return f"{path} can be read by others (mode {mode:04o}); run `chmod 600 {path}`"
    return None


def _random_key() -> bytes:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    return (1 + secrets.randbelow(order - 1)).to_bytes(32, "big")


def _encrypt(signer: LocalSigner, password: str, *, light: bool) -> str:
    from eth_account import Account

    iterations = LIGHT_SCRYPT if light else None
    while True:
        content: dict[str, Any] = dict(
            Account.encrypt(signer.private_key, password, kdf="scrypt", iterations=iterations)
        )
        # An initialization vector that begins with a zero byte is written without it, and other tools refuse that.
        if len(content["crypto"]["cipherparams"]["iv"]) == 32:
            return json.dumps(content)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KeyMissingError(
            f"There is no key at {path}.", hint="Make one with `collegium keys new`.", path=str(path)
        ) from None
    except (OSError, ValueError) as error:
        raise KeystoreError(
            f"Cannot read the keystore {path}: {error}.", hint="Restore it from a backup.", path=str(path)
        ) from error
    if not isinstance(content, dict):
        raise KeystoreError(f"{path} is not a V3 keystore.", hint="Restore it from a backup.", path=str(path))
    return content
