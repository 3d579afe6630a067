"""One port for all services: each request goes to the service that its signature names."""

import http
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from imgforge.ec2.local.full import FullFolder, is_unwritable
from imgforge.ec2.local.origin import foreign_origin
from imgforge.ec2.local.wire import Readable, Request, Response, Service, read_request
from imgforge.ec2.local.xml_wire import error_xml

_LOG = logging.getLogger("imgforge.ec2.local")
_DRAINED_BYTES = 2**20
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Refuse = Callable[[int, str, str], Response]
"""Writes a refusal as a service does: its status, code and message."""
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
"""What a server runs (PEP 3333)."""


class App:
    """A WSGI application (PEP 3333) over services by the names that signatures have.

    With `access_keys` only who signs with one of them is let in: a port on the loopback is open to
    every user of the machine. Signatures themselves are not compared. What a page of another host
    sends is refused. `folder` is where the services write. `refusals` are for services that
    do not write one as S3 does.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        *,
        folder: Path,
        default: str = "s3",
        access_keys: frozenset[str] | None = None,
        refusals: Mapping[str, "Refuse"] | None = None,
    ) -> None:
        self._services = services
        self._full = FullFolder(folder)
        self._default = default
        self._access_keys = access_keys
        self._refusals = refusals or {}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = read_request(environ)
        response = self.respond(request)
        drain(request.body)
        phrase = http.HTTPStatus(response.status).phrase
        start_response(f"{response.status} {phrase}", list(response.headers.items()))
        return () if request.method == "HEAD" else response.body

    def respond(self, request: Request) -> Response:
        """Return the answer to a request, with all its headers."""
        try:
            response = self._answer(request)
        except Exception as error:
            _LOG.debug("%s %s failed", request.method, request.path, exc_info=error)
            name = self._service_of(request)
            refuse = self._refusals.get(name, _refuse)
            wrong = (500, "InternalError", "We encountered an internal error.")
            response = refuse(*(self._full.refusal(name, error) if is_unwritable(error) else wrong))
        headers = {"x-amz-request-id": secrets.token_hex(8).upper(), **response.headers}
        if response.size_bytes is not None:
            headers["Content-Length"] = str(response.size_bytes)
        return replace(response, headers=headers)

    def _answer(self, request: Request) -> Response:
        caller = request.caller
        name = self._service_of(request)
        refuse = self._refusals.get(name, _refuse)
        if why := foreign_origin(request.headers):
            return refuse(403, "AccessDenied", f"This endpoint answers its own host alone: {why}.")
        if self._access_keys is not None:
            if caller is None:
                return _refuse(403, "AccessDenied", "Access Denied")
            if caller.access_key not in self._access_keys:
                words = "The AWS Access Key Id you provided does not exist in our records."
                return refuse(403, "InvalidAccessKeyId", words)
        service = self._services.get(name)
        if service is None:
            return _refuse(501, "NotImplemented", f"This endpoint has no service {name}.")
        return service.respond(request)

    def _service_of(self, request: Request) -> str:
        """Return the service that is asked: the one which refuses what is signed for none."""
        if request.caller is not None:
            return request.caller.service
        form = "application/x-www-form-urlencoded"
        is_form = request.headers.get("content-type", "").startswith(form)
        is_query = request.path == "/" and (is_form or "Action" in request.query)
        return "ec2" if is_query and "ec2" in self._services else self._default


def drain(body: Readable) -> None:
    """Read what a refusal left of a body: the next request comes behind it."""
    try:
        while body.read(_DRAINED_BYTES):
            pass
    except (OSError, ValueError):  # gone, or chunks that are none
        return


def _refuse(status: int, code: str, message: str) -> Response:
    body = error_xml(code, message)
    return Response(status, {"Content-Type": "application/xml"}, (body,), len(body))
