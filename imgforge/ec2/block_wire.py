"""Requests for single blocks: signed by botocore, without its cost of a general request.

botocore's own way of PutSnapshotBlock takes 0.65 ms of a processor, this one 0.45 ms, and 0.2 ms
where no TLS and no proxy are in between; SHA-256 of a block takes 0.28 ms (measured on loopback).
"""

import http.client
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from botocore import exceptions as boto
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies

_SERVICE = "ebs"
# "The block data is not signed": its checksum is, in a header (EBS direct API, PutSnapshotBlock).
_UNSIGNED = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BlockAnswer:
    """An answer; header names are in lower case."""

    status: int
    headers: Headers
    body: bytes


class BlockWire:
    """Sends requests of EBS direct as `client` would. May be used by several threads."""

    def __init__(self, client: Any, credentials: Any) -> None:
        self._credentials = credentials
        self._url = str(client.meta.endpoint_url).rstrip("/")
        self._region = client.meta.region_name
        self._http: _PlainHttp | _BotocoreHttp = _BotocoreHttp(client)
        is_plain = urlsplit(self._url).scheme == "http"
        given = client.meta.config.proxies
        proxies = get_environ_proxies(self._url) if given is None else given
        if is_plain and not proxies:
            self._http = _PlainHttp(self._url, timeout_s=client.meta.config.read_timeout)
        self._parser = create_parser("rest-json")
        self._operations = {
            "PUT": client.meta.service_model.operation_model("PutSnapshotBlock"),
            "GET": client.meta.service_model.operation_model("GetSnapshotBlock"),
        }

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Headers,
        data: bytes,
        query: Mapping[str, str],
    ) -> BlockAnswer:
        """Send a request once. Raises what botocore raises, ClientError for a refusal."""
        url = f"{self._url}{path}" + (f"?{urlencode(query)}" if query else "")
        request = AWSRequest(method, url, headers={**headers, **_UNSIGNED}, data=data)
        if self._credentials is None:
            raise boto.NoCredentialsError
        # Those of a role are new from time to time.
        frozen = self._credentials.get_frozen_credentials()
        SigV4Auth(frozen, _SERVICE, self._region).add_auth(request)
        answer = self._http.send(request)
        if answer.status >= 300:
            self._refuse(method, answer)
        return answer

    def _refuse(self, method: str, answer: BlockAnswer) -> None:
        operation = self._operations[method]
        told = self._parser.parse(
            {
                "headers": answer.headers,
                "status_code": answer.status,
                "body": answer.body,
                "context": {"operation_name": operation.name},
            },
            operation.output_shape,
        )
        raise boto.ClientError(told, operation.name)


class _BotocoreHttp:
    """What the client itself sends by, with the proxies and certificates it found."""

    def __init__(self, client: Any) -> None:
        self._session = client._endpoint.http_session  # noqa: SLF001 (there is no public way)

    def send(self, request: Any) -> BlockAnswer:
        """Send a signed request."""
        found = self._session.send(request.prepare())
        headers = {name.lower(): value for name, value in found.headers.items()}
        return BlockAnswer(found.status_code, headers, found.content)


class _PlainHttp:
    """A connection for each thread."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        self._place = urlsplit(url).netloc
        self._timeout_s = timeout_s
        self._mine = threading.local()

    def send(self, request: Any) -> BlockAnswer:
        """Send a signed request. Raises botocore's errors of connections."""
        connection: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if connection is not None:
            try:
                return self._exchange(connection, request)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                pass  # it was closed since, as servers do; a new one tells
            except (http.client.HTTPException, OSError) as error:
                raise self._told(error) from None
        try:
            self._mine.connection = self._connected()
            return self._exchange(self._mine.connection, request)
        except (http.client.HTTPException, OSError) as error:
            raise self._told(error) from None

    def _connected(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._place, timeout=self._timeout_s)
        connection.connect()
        return connection

    def _exchange(self, connection: http.client.HTTPConnection, request: Any) -> BlockAnswer:
        target = request.url[len(self._url) :]
        try:
            connection.putrequest(request.method, target, skip_accept_encoding=True)
            connection.putheader("Content-Length", str(len(request.data)))
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(request.data or None)
            found = connection.getresponse()
            headers = {name.lower(): value for name, value in found.getheaders()}
            answer = BlockAnswer(found.status, headers, found.read())
        except BaseException:
            # What is left of an exchange that failed is no part of the next one.
            self._mine.connection = None
            connection.close()
            raise
        if found.will_close:
            self._mine.connection = None
            connection.close()
        return answer

    def _told(self, error: Exception) -> boto.BotoCoreError:
        if isinstance(error, TimeoutError):
            return boto.ReadTimeoutError(endpoint_url=self._url, error=error)
        if isinstance(error, ConnectionRefusedError | socket.gaierror):
            return boto.EndpointConnectionError(endpoint_url=self._url, error=error)
        return boto.ConnectionClosedError(endpoint_url=self._url, error=error)
