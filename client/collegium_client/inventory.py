"""Writes a rehearsal into a folder: each file that would leave, and lists of them for people and machines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collegium.errors import PreconditionError

from .rehearsal import Bytes, Leaving, Part, Rehearsal, Situation, typed_data

__all__ = ["describe", "refuse_foreign", "write_rehearsal"]

LIST, PAGE = "inventory.json", "README.md"
STAYS = (
    "the data, and everything read from them",
    "what the task prints (logs), its metrics and its report: losses, seconds, the exact number of examples",
    "buffers of the model, such as statistics of batch normalization",
    "keys, the journal and the secret behind the salts",
)
ALSO = (
    "the address of this machine and the times of its requests, to coordinators, stores and the chain's node",
    "over TLS, the certificate of this home, which names the node key",
    "the gas that the node key pays for messages it carries itself",
    "at admission, by hand: the institution's name and the addresses of its two keys",
    "after the round, to stores that lack them: the new model and the mean, which anyone can recompute",
)


def describe(rehearsal: Rehearsal, situation: Situation) -> dict[str, Any]:
    """The inventory: every act, every destination, every file with size, sha256, CID and the meaning of its bytes."""
    return {
        "schema": "collegium.dry-run/1",
        "acts": [_act(each, situation) for each in rehearsal.leaving],
        "files": [_file(each) for each in rehearsal.files()],
        "also_visible": list(ALSO),
        "stays": list(STAYS),
        "not_known_yet": list(rehearsal.open_fields),
    }


def _act(act: Leaving, situation: Situation) -> dict[str, Any]:
    return {
        "act": act.act,
        "phase": act.phase,
        "seen_by": act.seen_by,
        "routes": [{"to": to, "file": each.name, "bytes": len(each.content)} for to, each in act.routes],
        "signed": [{"by": by, **typed_data(message, situation.domain)} for by, message in act.signed],
        "zero_here": list(act.open_fields),
    }


def _file(each: Bytes) -> dict[str, Any]:
    return {
        "file": each.name,
        "bytes": len(each.content),
        "sha256": each.sha256,
        "cid": each.cid.text,
        "parts": [_part(part) for part in each.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    return {name: getattr(part, name) for name in ("offset", "length", "name", "meaning", "value")}


def refuse_foreign(folder: Path) -> None:
    """Raise `PreconditionError` when the folder holds something else than an earlier dry run."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / LIST).is_file())):
        raise PreconditionError(f"{folder} holds other files.", hint="Name a new folder with --output.")


def write_rehearsal(folder: Path, rehearsal: Rehearsal, listing: Mapping[str, Any]) -> list[Path]:
    """Write all files; an earlier dry run in the folder is replaced, anything else is left alone.

    Raises `PreconditionError` for a folder with other content.
    """
    refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    contents = {each.name: each.content for each in rehearsal.files()}
    contents[LIST] = json.dumps(listing, indent=2).encode() + b"\n"
    contents[PAGE] = _page(listing).encode()
    for name, content in contents.items():
        (fresh / name).write_bytes(content)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return [folder / name for name in contents]


def _page(listing: Mapping[str, Any]) -> str:
    lines = [
        "# What would leave this hospital in one round",
        "",
        "Nothing was signed or sent. The files beside this page are the exact bytes; `sha256sum *` gives these sums.",
        "",
        "| act | phase | to | file | bytes | seen by |",
        "| --- | --- | --- | --- | ---: | --- |",
    ]
    for act in listing["acts"]:
        for route in act["routes"]:
            lines.append(
                f"| {act['act']} | {act['phase']} | {route['to']} | `{route['file']}` | {route['bytes']} |"
                f" {act['seen_by']} |"
            )
    lines += ["", "Also visible: " + "; ".join(listing["also_visible"]) + ".", "", "Stays here: "]
    lines[-1] += "; ".join(listing["stays"]) + "."
    for file in listing["files"]:
        lines += [
            "", f"## {file['file']}", "", f"{file['bytes']} bytes, sha256 `{file['sha256']}`, CID `{file['cid']}`", "",
            "| offset | bytes | what | meaning | value |", "| ---: | ---: | --- | --- | --- |",
        ]  # fmt: skip
        for part in file["parts"]:
            value = f"`{part['value']}`" if part["value"] else ""
            lines.append(f"| {part['offset']} | {part['length']} | {part['name']} | {part['meaning']} | {value} |")
    signed = [(act["act"], each) for act in listing["acts"] for each in act["signed"]]
    lines += ["", "## Signatures", "", "What each key would sign (EIP-712), and nothing else:", ""]
    for act_name, message in signed:
        fields = ", ".join(f"{name} = {value}" for name, value in message["message"].items())
        lines.append(f"- {act_name}, by the {message['by']}: `{message['type']}` with {fields}")
    return "\n".join(lines) + "\n"
