"""KMS, IAM and STS, as `App` asks them: checked by botocore's models, answered by moto."""

import functools
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from imgforge.catalog import KeyFacts, RefusedError
from imgforge.ec2.local.ebs_rest import json_object, json_value
from imgforge.ec2.local.ec2 import Desk, answered, read_body
from imgforge.ec2.local.ec2_query import read_fields
from imgforge.ec2.local.operations import find_operation
from imgforge.ec2.local.signature import Caller
from imgforge.ec2.local.wire import Request, Response
from imgforge.errors import HostError

if TYPE_CHECKING:
    from imgforge.ec2.local.moto_calls import MotoCalls

_LOG = logging.getLogger("imgforge.ec2.local")
_JSON = "application/x-amz-json-1.1"
# Moto looks for their keys by id only, where KMS takes ARNs, too.
_BY_ID_ALONE = {"EnableKey", "DisableKey", "ScheduleKeyDeletion", "CancelKeyDeletion"}
_KEPT = ("authorization", "content-type", "x-amz-target", "x-amz-date")


class Moto:
    """Moto, which is loaded when it is first asked: that takes a second."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.cached_property
    def calls(self) -> "MotoCalls":
        """What asks moto."""
        from imgforge.ec2.local.moto_calls import MotoCalls

        return MotoCalls(self._folder)

    def find_key(self, given: str, region: str, account_id: str) -> KeyFacts | None:
        """Return the key that a name means; None where there is none."""
        return self.calls.find_key(given, region, account_id)

    def certificates(self, account_id: str, region: str) -> Sequence[str]:
        """Return the active signing certificates of an account's users, in PEM."""
        if not (self._folder / "state.pickle").exists():
            return ()  # nobody has any: moto need not be loaded
        return self.calls.certificates(account_id, region)


class MotoService:
    """One of moto's services."""

    def __init__(self, desk: Desk, moto: Moto, name: str) -> None:
        self._desk = desk
        self._moto = moto
        self._name = name
        self._is_json = name == "kms"

    def respond(self, request: Request) -> Response:
        """Answer a request."""
        refuse = _refuse_in_json if self._is_json else _refuse_in_xml
        return answered(request, self._answer, refuse)

    def _answer(self, request: Request, request_id: str) -> Response:
        caller = self._desk.caller_of(request, self._name)
        if request.method != "POST" or request.path != "/":
            raise RefusedError("InvalidAction", "POST to / is needed.", status=404)
        body = read_body(request)
        action = self._action(request, body)
        with self._desk.faults_of(self._name, action):
            status, headers, content = self._ask(request, caller, body, action)
        headers = {
            "Content-Type": headers.get("content-type") or (_JSON if self._is_json else "text/xml"),
            "x-amzn-requestid": request_id,
        }
        return Response(status, headers, (content,), len(content))

    def _action(self, request: Request, body: bytes) -> str:
        """Return the operation that is asked for, once its parameters were looked at."""
        if self._is_json:
            name = request.headers.get("x-amz-target", "").rpartition(".")[2]
        else:
            name = read_fields(body).get("Action", "")
        operation = find_operation(self._name, name)
        if operation is None:
            raise RefusedError(
                "UnknownOperationException" if self._is_json else "InvalidAction",
                f"Could not find operation {name[:100]}",
            )
        if self._is_json and operation.input_shape is not None:
            _check_json(operation.input_shape, json_object(body))
        return name

    def _ask(
        self, request: Request, caller: Caller, body: bytes, action: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        from imgforge.ec2.local.moto_calls import MotoCall

        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        account_id = caller.account_id or self._desk.account.owner_id
        if action in _BY_ID_ALONE:
            own = f"arn:aws:kms:{caller.region}:{account_id}:key/"
            asked = json_object(body)
            body = json.dumps({**asked, "KeyId": asked["KeyId"].removeprefix(own)}).encode()
        call = MotoCall(self._name, account_id, caller.region, headers, body)
        try:
            return self._moto.calls.answer(call)
        except HostError:
            raise
        except Exception as error:  # moto has no end of them for what it does not know
            _LOG.debug("moto failed at %s", action, exc_info=error)
            code = "UnsupportedOperationException" if self._is_json else "InvalidParameterValue"
            raise RefusedError(
                code, f"{action} with these parameters is not answered by this endpoint."
            ) from None


def _check_json(shape: Any, body: Mapping[str, Any]) -> None:
    for member in shape.required_members:
        if body.get(member) is None:
            raise RefusedError("ValidationException", f"{member} must not be null")
    for name, value in body.items():
        if name in shape.members and value is not None:
            json_value(shape.members[name], value, name)


def refuse_in_kms(status: int, code: str, message: str) -> Response:
    """Return a refusal as KMS writes it."""
    return _refuse_in_json(RefusedError(code, message, status=status), str(uuid.uuid4()))


def refuse_in_iam(status: int, code: str, message: str) -> Response:
    """Return a refusal as IAM and STS write it."""
    return _refuse_in_xml(RefusedError(code, message, status=status), str(uuid.uuid4()))


def _refuse_in_json(error: RefusedError, request_id: str) -> Response:
    body = json.dumps({"__type": error.code, "message": str(error)}).encode()
    headers = {"Content-Type": _JSON, "x-amzn-requestid": request_id}
    return Response(error.status, headers, (body,), len(body))


def _refuse_in_xml(error: RefusedError, request_id: str) -> Response:
    blame = "Receiver" if error.status >= 500 else "Sender"
    body = (
        f"<ErrorResponse><Error><Type>{blame}</Type><Code>{escape(error.code)}</Code>"
        f"<Message>{escape(str(error))}</Message></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode(errors="replace")
    headers = {"Content-Type": "text/xml", "x-amzn-requestid": request_id}
    return Response(error.status, headers, (body,), len(body))
