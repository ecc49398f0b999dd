"""Serve the region's API: EC2, and what a lab asks STS, Systems Manager and Service Quotas.

A request passes: signature -> EC2's model -> the faults that are ordered -> strict rules -> moto ->
`on_change` -> journal -> answer, from the rules on under one lock. A change that fails anywhere is
undone, so that an error means that nothing happened.
"""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from werkzeug.serving import WSGIRequestHandler, make_server

from osawslab.errors import RegionGone
from osawslab.region import amis, existence, inventory, keys, model, quota, wire
from osawslab.region.faults import Cut, Faults
from osawslab.region.journal import Entry, Journal
from osawslab.region.motoadapter import LOCK, Moto
from osawslab.region.motoanswers import INITIATED
from osawslab.region.motomodels import ACCOUNT
from osawslab.region.state import State
from osawslab.region.strict import Strict
from osawslab.region.wire import Ec2Error, Form

if TYPE_CHECKING:
    from osawslab.region.baked import Bakery

T = TypeVar("T")
Answer = tuple[int, str, bytes]  # HTTP status, content type, body
XML = "text/xml;charset=UTF-8"
LOG = logging.getLogger(__name__)
DRY_RUN = Ec2Error(  # EC2 API, "Common parameters", "DryRun"
    "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412
)


class Guard(AbstractContextManager["Guard"]):
    """Keep any exception of the block as `error`: what a server must answer, whatever broke."""

    error: Exception | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
            return True
        return False


class Ec2:
    """The region's API as a WSGI application; safe to call from several threads."""

    def __init__(
        self,
        *,
        name: str,
        journal: Path,
        access_key: str,
        secret_key: str,
        region: str,
        on_change: Callable[[State], None],
        bakery: Bakery | None = None,
    ) -> None:
        self._keys = (access_key, secret_key, region)
        self._on_change = on_change
        self._journal = Journal(journal)
        self._moto = Moto(name, region)
        self._bakery = bakery  # None where instances are not whole: nothing is made of them
        self._strict = Strict(region, Moto.limits, bakery.whole if bakery else lambda _: False)
        self._actions = Moto.actions()
        self.faults = Faults()
        self._past: list[tuple[float, bytes]] = []  # a change's time, and what was before it
        self._sequence = 0
        self._tokens: dict[tuple[str, str], tuple[str, bytes]] = {}

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, kind, body = self._answer(environ, content)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start_response(f"{status} {'OK' if status < 400 else 'Error'}", headers)
        return [body]

    def state(self) -> State:
        """Give what exists now."""
        with LOCK:
            return inventory.state(self._moto.inventory())

    def replay(self) -> int:
        """Make the journal's calls again, count a boot for what runs, tell `on_change` once.

        Gives the number of calls; a journal that cannot be followed is RegionGone.
        """
        with LOCK:
            entries = self._journal.read()
            if self._bakery:
                self._moto.show([*self._bakery.remembered(), *self._bakery.found()])
            for entry in entries:
                call = wire.form(entry.body.encode())
                with Guard() as guard:
                    how = {"sequence": entry.seq, "now": entry.when}
                    self._accept(call, entry, self._moto_call(call, how))
                if guard.error is not None:
                    raise RegionGone(
                        f"the region's journal cannot be followed past call {entry.seq}",
                        seen=f"{call.get('Action')}: {guard.error}",
                        next="./lab down --purge, and begin anew",
                    ) from guard.error
            self._look()
            self._moto.reboot_all()
            self._on_change(inventory.state(self._moto.inventory()))
            return len(entries)

    def _look(self) -> None:
        """See the images that other labs have made or let go meanwhile."""
        if self._bakery:
            self._moto.show(self._bakery.found())

    def reboot(self, which: Callable[[], list[str]]) -> None:
        """Reboot the instances that `which` names, if any, as RebootInstances does."""
        with LOCK:
            ids = which()
            if ids:
                self._look()
                named = {f"InstanceId.{number}": key for number, key in enumerate(ids, 1)}
                self._change({"Action": "RebootInstances", **named}, dry=False)

    def shut_down(self, which: Callable[[], list[str]]) -> None:
        """Stop or terminate the instances that `which` names: they have powered themselves off.

        EC2 guide, "Change instance initiated shutdown behavior".
        """
        with LOCK:
            for key in which():
                self._look()
                terminate = self._moto.at_shutdown(key) == "terminate"
                action = "TerminateInstances" if terminate else "StopInstances"
                call = {"Action": action, "InstanceId.1": key, INITIATED: "true"}
                self._change(call, dry=False)

    def _answer(self, environ: dict[str, Any], content: bytes) -> Answer:
        service = wire.service_of(environ)
        with Guard() as guard:
            wire.authenticate(environ, content, *self._keys)
            if service == "ec2":
                return 200, XML, self._ec2(wire.form(content or query(environ)))
            if service == "sts":
                return 200, XML, sts(wire.form(content or query(environ)).get("Action", ""))
            if service in wire.JSON_SERVICES:
                operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
                asked = json.loads(content or b"{}")
                if service == "ssm":
                    told = amis.ssm(operation, asked, self._keys[2])
                else:
                    told = quota.told(operation, asked)
                return 200, wire.JSON, json.dumps(told).encode()
            raise Ec2Error(
                "InvalidAction",
                f"The local region serves ec2, sts, ssm and servicequotas, not {service}.",
            )
        error = guard.error
        if isinstance(error, Cut):
            raise error
        if not isinstance(error, Ec2Error):
            LOG.error("a call failed", exc_info=error)
            error = Ec2Error("InternalError", f"{type(error).__name__}: {error}", 500)
        return wire.refusal(service, error)

    def _ec2(self, call: Form) -> bytes:
        """Answer an EC2 call; every refusal is an Ec2Error, and leaves nothing changed."""
        action = call.get("Action", "")
        if action not in self._actions:
            raise Ec2Error(
                "InvalidAction", f"The action {action} is not valid for this web service."
            )
        model.check(Moto.model(), call)
        dry, reads = wire.truth(call.pop("DryRun", None)), model.reads(action)
        wrong = nullcontext() if dry else self.faults.at(action, changes=not reads)
        with wrong, LOCK:
            self._look()
            if reads:
                return self._seen(lambda: self._read(call, dry))
            self._seen(lambda: existence.check(self._moto.inventory(), call))
            return self._change(call, dry)

    def _read(self, call: Form, dry: bool) -> bytes:
        self._strict.check(self._moto.inventory(), call)
        answer = self._moto_call(call, {})
        if dry:
            raise DRY_RUN
        return answer

    def _seen(self, look: Callable[[], T]) -> T:
        """Look at what EC2 shows: what there is, or was, where that is ordered."""
        since = time.monotonic() - self.faults.age
        self._past = [each for each in self._past if each[0] > since]
        if not self._past:
            return look()
        present = self._moto.backend
        self._moto.restore(self._past[0][1])
        try:
            return look()
        finally:
            self._moto.backend = present

    def _change(self, call: Form, dry: bool) -> bytes:
        """Make a change whole or not at all."""
        entry = Entry(
            seq=self._sequence + 1,
            time=datetime.now(UTC).replace(tzinfo=None, microsecond=0).isoformat(),
            body="",
            asked=hashlib.sha256(wire.body(dict(sorted(call.items()))).encode()).hexdigest(),
        )
        known = self._repeated(call, entry.asked)
        if known is not None and not dry:
            return known
        snapshot = self._moto.snapshot()
        with Guard() as guard:
            self._strict.check(self._moto.inventory(), call)
            material = b""
            if call["Action"] == "CreateKeyPair":
                material = keys.settle(call)
            entry = replace(entry, body=wire.body(call))
            answer = self._moto_call(
                call, {"sequence": entry.seq, "now": entry.when, "key_material": material}
            )
            if dry:
                raise DRY_RUN
            self._on_change(inventory.state(self._moto.inventory()))
            self._journal.append(entry)
            self._accept(call, entry, answer)
            if self.faults.age:
                self._past.append((time.monotonic(), snapshot))
            if self._bakery and call["Action"] == "DeregisterImage":
                self._bakery.forget([call["ImageId"]])
            return answer
        self._moto.restore(snapshot)
        raise guard.error or AssertionError("a change neither ended nor failed")

    def _repeated(self, call: Form, asked: str) -> bytes | None:
        """Give the answer to a call with the same token; EC2 guide, "Ensuring idempotency"."""
        known = self._tokens.get((call["Action"], call.get("ClientToken", "")))
        if known is None:
            return None
        if known[0] != asked:
            raise Ec2Error(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in "
                "previous request(s).",
            )
        made = wire.instances(known[1]) if call["Action"] == "RunInstances" else []
        if made and not self.state().instances.keys() & set(made):
            raise Ec2Error(
                "IdempotentInstanceTerminated",
                "The request to launch an instance uses the same client token as a previous "
                "request for which the instance has been terminated.",
            )
        return known[1]

    def _accept(self, call: Form, entry: Entry, answer: bytes) -> None:
        self._sequence = entry.seq
        if "ClientToken" in call:
            self._tokens[call["Action"], call["ClientToken"]] = (entry.asked, answer)

    def _moto_call(self, call: Form, how: dict[str, Any]) -> bytes:
        try:
            status, answer = self._moto.call(wire.body(call), **how)
        except NotImplementedError as error:
            what = str(error).split(" has not been implemented")[0]
            raise Ec2Error(
                "UnsupportedOperation", f"The local region cannot do this: {what}."
            ) from error
        if status >= 400:
            code, message = wire.told(answer)
            raise Ec2Error(code, message, status)
        return answer


def query(environ: dict[str, Any]) -> bytes:
    """Give the query of a GET request."""
    return str(environ.get("QUERY_STRING", "")).encode()


def sts(action: str) -> bytes:
    """Answer GetCallerIdentity; refuse the rest."""
    if action != "GetCallerIdentity":
        raise Ec2Error(
            "InvalidAction", f"The local region answers GetCallerIdentity, not {action}."
        )
    return (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<GetCallerIdentityResult><Arn>arn:aws:iam::{ACCOUNT}:user/lab</Arn>"
        f"<UserId>AIDALOCALREGIONLAB000</UserId><Account>{ACCOUNT}</Account>"
        "</GetCallerIdentityResult><ResponseMetadata><RequestId>local</RequestId>"
        "</ResponseMetadata></GetCallerIdentityResponse>"
    ).encode()


class Handler(WSGIRequestHandler):
    """Serve without Nagle's delay, and without a log line for each request."""

    disable_nagle_algorithm = True

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """End the connection without an answer."""
        self.close_connection = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def serve(app: Ec2, listener: socket.socket) -> None:
    """Serve on a socket that already listens, one thread for each connection; blocks."""
    host, port = listener.getsockname()[:2]
    server = make_server(
        host, port, app, threaded=True, request_handler=Handler, fd=listener.fileno()
    )
    server.serve_forever()
