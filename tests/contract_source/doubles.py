"""Explorers' APIs as local servers that take a request exactly as documented and refuse every other one.

Each answers by default as the real one does when all goes well: accepted, pending once, verified. `script` replaces
answers by kind of request, one after the other.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from collegium.contract_source.release import Release

ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
HTML = ("text/html", b"<html><title>Just a moment...</title>\x1b[2J</html>")


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """hang: seconds before the answer, after the request has had its effect."""

    status: int
    content: Any
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0
    effect: bool = True


class Double:
    """A server. `problems`: what a strict server would have refused. `requests`: all of them."""

    def __init__(self, release: Release, chain_id: int) -> None:
        self.release, self.chain_id = release, chain_id
        self.requests: list[Request] = []
        self.problems: list[str] = []
        self.script: dict[str, list[Reply]] = defaultdict(list)
        self.verified: set[str] = set()
        self.pending: dict[str, tuple[str, int]] = {}
        self.patience = 1
        """How often a ticket is pending before it is decided; -1 for ever."""
        self.url = ""

    def count(self, kind: str) -> int:
        return sum(self.kind_of(request) == kind for request in self.requests)

    def kind_of(self, request: Request) -> str:
        raise NotImplementedError

    def handle(self, request: Request) -> Reply:
        raise NotImplementedError

    def answer(self, request: Request) -> Reply:
        kind = self.kind_of(request)
        scripted = self.script[kind].pop(0) if self.script[kind] else None
        if scripted is not None and not scripted.effect:
            return scripted
        reply = self.handle(request)
        if self.problems:
            return Reply(400, {"customCode": "invalid_parameter", "message": self.problems[-1], "status": "0"})
        return scripted or reply

    def need(self, right: bool, what: str) -> None:
        if not right:
            self.problems.append(what)

    def check_input(self, name: str, text: str) -> None:
        """Literal sources, the release's settings, nothing besides."""
        contract = self.release.contracts[name]
        content = json.loads(text)
        self.need(set(content) == {"language", "sources", "settings"}, f"fields {sorted(content)}")
        self.need(content["language"] == "Solidity", "language")
        self.need(all(set(each) == {"content"} and each["content"] for each in content["sources"].values()), "content")
        self.need(contract.identifier.rpartition(":")[0] in content["sources"], "source of the contract")
        given = {key: value for key, value in content["settings"].items() if key != "outputSelection"}
        self.need(given == dict(self.release.settings), f"settings {given}")

    def step(self, ticket: str) -> bool:
        """Whether the ticket is decided now."""
        address, left = self.pending[ticket]
        if left == 0:
            self.verified.add(address)
            return True
        self.pending[ticket] = (address, left - 1)
        return False

    def take(self, address: str) -> str:
        ticket = f"ticket-{len(self.pending) + 1}"
        self.pending[ticket] = (address.lower(), self.patience)
        return ticket

    @contextmanager
    def serve(self) -> Iterator[None]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
                headers = {key.lower(): value for key, value in self.headers.items()}
                request = Request(self.command, parts.path, query, headers, self.rfile.read(length))
                double.requests.append(request)
                reply = double.answer(request)
                time.sleep(reply.hang)
                kind, body = reply.content if isinstance(reply.content, tuple) else (
                    "application/json", json.dumps(reply.content).encode()
                )
                try:
                    self.send_response(reply.status)
                    usual = {"Content-Type": kind, "Content-Length": str(len(body))}
                    for name, value in {**usual, **reply.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # whoever asked has given up

            do_GET = do_POST = _do

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)


class SourcifyDouble(Double):
    def kind_of(self, request: Request) -> str:
        if request.path.startswith("/v2/contract/"):
            return "lookup"
        return "submit" if request.method == "POST" else "poll"

    def handle(self, request: Request) -> Reply:
        kind = self.kind_of(request)
        if kind == "poll":
            ticket = request.path.rpartition("/")[2]
            if ticket not in self.pending:
                return Reply(404, {"customCode": "job_not_found", "message": "no such job", "errorId": "1"})
            done = self.step(ticket)
            contract = self._contract(self.pending[ticket][0]) if done else {"match": None}
            return Reply(200, {"isJobCompleted": done, "verificationId": ticket, "contract": contract})
        _, version, what, chain, address = request.path.split("/")
        self.need(version == "v2" and what == ("contract" if kind == "lookup" else "verify"), request.path)
        self.need(chain == str(self.chain_id) and ADDRESS.fullmatch(address) is not None, request.path)
        if kind == "lookup":
            # Jobs go on whether anybody asks for them or not.
            for ticket in [key for key, each in self.pending.items() if each[0] == address.lower()]:
                self.step(ticket)
            if address.lower() in self.verified:
                return Reply(200, self._contract(address))
            return Reply(404, {"match": None, "creationMatch": None, "runtimeMatch": None})
        self.need(request.headers.get("content-type") == "application/json", "content type")
        body = json.loads(request.body)
        wanted = {"stdJsonInput", "compilerVersion", "contractIdentifier", "creationTransactionHash"}
        self.need(set(body) == wanted, f"fields {sorted(body)}")
        self.need(body["compilerVersion"] == self.release.compiler, "compilerVersion")
        path, _, name = body["contractIdentifier"].rpartition(":")
        self.need(self.release.contracts[name].identifier == f"{path}:{name}", "contractIdentifier")
        self.need(re.fullmatch(r"0x[0-9a-f]{64}", body["creationTransactionHash"]) is not None, "creation transaction")
        self.check_input(name, json.dumps(body["stdJsonInput"]))
        if address.lower() in self.verified:
            return Reply(409, {"customCode": "already_verified", "message": "already verified", "errorId": "1"})
        if any(each[0] == address.lower() for each in self.pending.values()):
            return Reply(429, {"customCode": "duplicate_verification_request", "message": "running", "errorId": "1"})
        return Reply(202, {"verificationId": self.take(address)})

    def _contract(self, address: str) -> dict[str, Any]:
        match = "exact_match"
        return {"match": match, "runtimeMatch": match, "creationMatch": match, "address": address, "chainId": "1"}


class BlockscoutDouble(Double):
    encoded: dict[str, str]

    def kind_of(self, request: Request) -> str:
        return "submit" if request.method == "POST" else "lookup"

    def handle(self, request: Request) -> Reply:
        parts = request.path.split("/")
        self.need(parts[1:4] == ["api", "v2", "smart-contracts"], request.path)
        address = parts[4]
        if request.method == "GET":
            ticket = next((key for key, each in self.pending.items() if each[0] == address.lower()), None)
            done = address.lower() in self.verified or (ticket is not None and self.step(ticket))
            return Reply(200, {"is_verified": done, "is_fully_verified": done})
        self.need(parts[5:] == ["verification", "via", "standard-input"], request.path)
        fields, files = _parse_multipart(request)
        self.need(set(fields) == {
            "compiler_version", "contract_name", "autodetect_constructor_args", "constructor_args", "license_type",
        }, f"fields {sorted(fields)}")  # fmt: skip
        self.need(fields["compiler_version"] == f"v{self.release.compiler}", "compiler_version")
        self.need(fields["autodetect_constructor_args"] == "false", "autodetect_constructor_args")
        self.need(fields["license_type"] == "apache_2_0", "license_type")
        self.need(fields["constructor_args"] == self.encoded[fields["contract_name"]], "constructor_args")
        self.need(list(files) == ["files[0]"] and files["files[0]"][0] == "application/json", f"files {sorted(files)}")
        self.check_input(fields["contract_name"], files["files[0]"][1].decode())
        if address.lower() in self.verified:
            return Reply(409, {"message": "Already verified"})
        self.take(address)
        return Reply(200, {"message": "Smart-contract verification started"})


class EtherscanDouble(Double):
    key = "SECRETKEY0123456789"
    encoded: dict[str, str]

    def kind_of(self, request: Request) -> str:
        if request.method == "POST":
            return "submit"
        return {"getsourcecode": "lookup", "checkverifystatus": "poll"}.get(request.query.get("action", ""), "other")

    def handle(self, request: Request) -> Reply:
        self.need(request.path == "/v2/api", request.path)
        self.need(request.query.get("chainid") == str(self.chain_id), "chainid in the query")
        if request.method == "GET":
            return self._question(request)
        self.need(request.headers.get("content-type") == "application/x-www-form-urlencoded", "content type")
        self.need("apikey" not in request.query, "the key of a submission belongs into the form")
        form = {key: values[0] for key, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}
        if form.get("apikey") != self.key:
            return _result("0", "Invalid API Key (#err2)|SECRETKEY")
        path, _, name = form["contractname"].rpartition(":")
        self.need(self.release.contracts[name].identifier == f"{path}:{name}", "contractname")
        expected = {
            "module": "contract", "action": "verifysourcecode", "codeformat": "solidity-standard-json-input",
            "compilerversion": f"v{self.release.compiler}", "licenseType": "12",
            "constructorArguements": self.encoded[name], "constructorArguments": self.encoded[name],
        }  # fmt: skip
        for key, value in expected.items():
            self.need(form.get(key) == value, f"{key}: {form.get(key, '')[:80]}")
        self.need(not form["constructorArguments"].startswith("0x"), "arguments without 0x")
        self.need(ADDRESS.fullmatch(form["contractaddress"]) is not None, "contractaddress")
        self.check_input(name, form["sourceCode"])
        if form["contractaddress"].lower() in self.verified:
            return _result("0", "Contract source code already verified")
        return _result("1", self.take(form["contractaddress"]))

    def _question(self, request: Request) -> Reply:
        if request.query.get("apikey") != self.key:
            return _result("0", "Invalid API Key (#err2)")
        self.need(request.query.get("module") == "contract", "module")
        if request.query["action"] == "getsourcecode":
            done = request.query["address"].lower() in self.verified
            return _result("1", [{"SourceCode": "{{...}}" if done else "", "ContractName": ""}])
        if request.query["guid"] not in self.pending:
            return _result("0", "Fail - Unknown GUID")
        return _result("1", "Pass - Verified") if self.step(request.query["guid"]) else _result("0", "Pending in queue")


def _result(status: str, result: Any) -> Reply:
    return Reply(200, {"status": status, "message": "OK" if status == "1" else "NOTOK", "result": result})


def _parse_multipart(request: Request) -> tuple[dict[str, str], dict[str, tuple[str, bytes]]]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
    assert message.get_content_type() == "multipart/form-data"
    fields, files = {}, {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        payload = part.get_payload(decode=True)
        if part.get_filename():
            files[name] = (part.get_content_type(), payload)
        else:
            fields[name] = payload.decode()
    return fields, files
