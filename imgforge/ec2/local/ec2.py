"""EC2 and EBS direct, over an account of the catalog: requests in, answers by botocore's models."""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imgforge.catalog import Account, BundleFacts, ImportSource, RefusedError
from imgforge.ec2.local import ebs_rest
from imgforge.ec2.local.bundles import Bundles
from imgforge.ec2.local.ebs_rest import RestRequest
from imgforge.ec2.local.ec2_answer import write_xml, write_xml_error
from imgforge.ec2.local.ec2_query import check_version, parse_query, read_fields
from imgforge.ec2.local.fault import CutError, Fault, FaultKind, Faults
from imgforge.ec2.local.fault_words import refusal
from imgforge.ec2.local.full import is_unwritable
from imgforge.ec2.local.imports import Imports
from imgforge.ec2.local.operations import find_operation
from imgforge.ec2.local.signature import Caller, read_caller
from imgforge.ec2.local.sweeper import FREEING, Sweeper
from imgforge.ec2.local.wire import RefusalError, Request, Response, chunks_of
from imgforge.errors import ImgforgeError
from imgforge.progress import warn

_MOST_BODY_BYTES = 2 * 2**20
_TIMEOUT_S = 3600.0
_XML = "text/xml;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Desk:
    """What both services need: the account, the faults, and when the endpoint ends."""

    account: Account
    faults: Faults
    bundles: Bundles
    imports: Imports
    sweeper: Sweeper
    is_ending: threading.Event

    def perform(
        self, service: str, name: str, parameters: Mapping[str, Any], caller: Caller
    ) -> Mapping[str, Any]:
        """Do what an action asks, unless a fault is in the way. Raises RefusedError, CutError."""
        with self.faults_of(service, name):
            result = self.account.perform(
                name,
                parameters,
                region=caller.region,
                account_id=caller.account_id,
                bundle=self._bundle(name, parameters, caller),
                source=self._source(name, parameters, caller),
            )
            if name == "ImportSnapshot":
                self.imports.wake()
            if name in FREEING:
                self.sweeper.wake()
            return result

    @contextmanager
    def faults_of(self, service: str, name: str) -> Iterator[None]:
        """Let what was asked for go wrong around an action. Raises RefusedError, CutError."""
        fault = self.faults.meet(name)
        if fault is not None:
            self._suffer(fault, service)
        yield
        if fault is not None and fault.kind is FaultKind.CUT_AFTER:
            raise CutError

    def _bundle(
        self, name: str, parameters: Mapping[str, Any], caller: Caller
    ) -> BundleFacts | None:
        """Return the bundle that an image is to be registered from."""
        location = parameters.get("ImageLocation")
        if name != "RegisterImage" or not location:
            return None
        account_id = caller.account_id or self.account.owner_id
        return self.bundles.find(location, region=caller.region, account_id=account_id)

    def _source(
        self, name: str, parameters: Mapping[str, Any], caller: Caller
    ) -> ImportSource | None:
        """Return the disk image that a snapshot is to be made of."""
        if name != "ImportSnapshot":
            return None
        asked = ImportSource.asked(parameters.get("DiskContainer", {}))
        return None if asked is None else self.imports.source(asked, region=caller.region)

    def _suffer(self, fault: Fault, service: str) -> None:
        if fault.kind is FaultKind.CUT:
            raise CutError
        if fault.kind is FaultKind.TIMEOUT:
            self.is_ending.wait(_TIMEOUT_S)
            raise CutError
        self.is_ending.wait(fault.delay_ms / 1000)
        if wrong := refusal(fault.kind, service):
            raise wrong

    def caller_of(self, request: Request, service: str) -> Caller:
        """Return who asks. Raises RefusedError where the signature is not what it has to be."""
        caller = read_caller(request.headers, request.query, now=datetime.now(UTC))
        if caller.service != service:
            raise RefusedError(
                "SignatureDoesNotMatch",
                f"Credential should be scoped to correct service: '{service}'.",
                status=403,
            )
        if caller.region not in self.account.regions:
            raise RefusedError(
                "AuthFailure", "Credential should be scoped to a valid region.", status=401
            )
        return caller


class Ec2:
    """EC2, as `App` asks it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def respond(self, request: Request) -> Response:
        """Answer a request."""
        return answered(request, self._answer, _refuse_in_xml)

    def _answer(self, request: Request, request_id: str) -> Response:
        caller = self._desk.caller_of(request, "ec2")
        if request.method == "POST":
            fields = read_fields(read_body(request))
        elif request.method == "GET":
            fields = dict(request.query)
        else:
            raise RefusedError("InvalidRequest", "GET or POST is needed.", status=405)
        name = fields.get("Action", "")
        if not name:
            raise RefusedError("MissingAction", "The request must contain the parameter Action")
        operation = find_operation("ec2", name)
        if operation is None:
            message = f"The action {name[:100]} is not valid for this web service."
            raise RefusedError("InvalidAction", message)
        check_version(fields)
        self._desk.account.require(name)
        parameters = parse_query(fields, operation)
        result = self._desk.perform("ec2", name, parameters, caller)
        body = write_xml(operation, result, request_id=request_id)
        headers = {"Content-Type": _XML, "x-amzn-requestid": request_id}
        return Response(200, headers, (body,), len(body))


class Ebs:
    """EBS direct, or another service of its protocol (rest-json), as `App` asks it."""

    def __init__(self, desk: Desk, service: str = "ebs") -> None:
        self._desk = desk
        self._service = service

    def respond(self, request: Request) -> Response:
        """Answer a request."""
        return answered(request, self._answer, _refuse_in_json)

    def _answer(self, request: Request, request_id: str) -> Response:
        caller = self._desk.caller_of(request, self._service)
        route = ebs_rest.find_route(request.method, request.path, service=self._service)
        if route is None:
            raise RefusedError("UnknownOperationException", "No such operation.", status=404)
        operation, in_path = route
        asked = RestRequest(
            in_path, request.query, request.headers, read_body(request), request.lists
        )
        parameters = ebs_rest.parse_rest(operation, asked)
        result = self._desk.perform(self._service, operation.name, parameters, caller)
        return _response(ebs_rest.write_rest(operation, result, request_id=request_id))


def answered(
    request: Request,
    answer: Callable[[Request, str], Response],
    refuse: Callable[[RefusedError, str], Response],
) -> Response:
    """Return the answer; where that is a refusal, or fails, say so in the service's words."""
    request_id = str(uuid.uuid4())
    try:
        return answer(request, request_id)
    except RefusedError as error:
        return refuse(error, request_id)
    except RefusalError as error:
        return refuse(RefusedError(error.code, str(error), status=error.status), request_id)
    except CutError:
        request.cut()
        raise
    except ImgforgeError as error:  # the catalog's folder fails
        if is_unwritable(error):
            raise
        warn(f"request {request_id}: {error}")
        wrong = RefusedError("InternalError", "An internal error has occurred.", status=500)
        return refuse(wrong, request_id)


def read_body(request: Request) -> bytes:
    """Return a request's body. Raises RefusedError where it is larger than any that is allowed."""
    if request.size_bytes > _MOST_BODY_BYTES:
        raise RefusedError("RequestEntityTooLarge", "The request is too large.", status=413)
    return b"".join(chunks_of(request.body, request.size_bytes))


def refuse_in_ec2(status: int, code: str, message: str) -> Response:
    """Return a refusal as EC2 writes it."""
    return _refuse_in_xml(RefusedError(code, message, status=status), str(uuid.uuid4()))


def refuse_in_ebs(status: int, code: str, message: str) -> Response:
    """Return a refusal as EBS direct writes it."""
    return _refuse_in_json(RefusedError(code, message, status=status), str(uuid.uuid4()))


def _refuse_in_xml(error: RefusedError, request_id: str) -> Response:
    body = write_xml_error(error.code, str(error), request_id=request_id)
    headers = {"Content-Type": _XML, "x-amzn-requestid": request_id}
    return Response(error.status, headers, (body,), len(body))


def _refuse_in_json(error: RefusedError, request_id: str) -> Response:
    return _response(ebs_rest.write_rest_error(error, request_id=request_id))


def _response(answer: ebs_rest.Answer) -> Response:
    return Response(answer.status, answer.headers, (answer.body,), len(answer.body))
