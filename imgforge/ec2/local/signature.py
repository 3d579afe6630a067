"""Signature Version 4, looked at: who asks, of which region and service.

Any credentials are good here, so the signature itself is not computed again; that it is there and
well formed is what EC2 asks first (AWS Signature Version 4, "Troubleshooting").
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from imgforge.catalog import RefusedError

_ALGORITHM = "AWS4-HMAC-SHA256"
_FIELD = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*")
_SCOPE = re.compile(
    r"([\w+=.@-]{1,128})/([0-9]{8})/([a-z0-9-]{1,40})/([a-z0-9-]{1,40})/aws4_request", re.ASCII
)
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_HEADERS = re.compile(r"[a-z0-9-]+(;[a-z0-9-]+)*")
_ACCOUNT = re.compile(r"[0-9]{12}")
_MOST_SKEW_S = 15 * 60


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; an access key id of 12 digits names the account itself."""

    access_key_id: str
    region: str
    service: str

    @property
    def account_id(self) -> str | None:
        """The account that the access key id names; None where that is the local one."""
        return self.access_key_id if _ACCOUNT.fullmatch(self.access_key_id) else None


def read_caller(headers: Mapping[str, str], query: Mapping[str, str], *, now: datetime) -> Caller:
    """Return who asks, by the Authorization header or a presigned query.

    `headers` have lower-case names. Raises RefusedError where neither is well formed.
    """
    given = headers.get("authorization", "")
    if given:
        algorithm, _, rest = given.partition(" ")
        if algorithm != _ALGORITHM:
            raise _incomplete(f"Authorization header requires {_ALGORITHM}")
        fields = {}
        for part in rest.split(","):
            match = _FIELD.fullmatch(part)
            if match is None:
                raise _incomplete("Authorization header is not key=value pairs")
            fields[match[1]] = match[2]
        date = headers.get("x-amz-date", "")
    elif query.get("X-Amz-Algorithm") == _ALGORITHM:
        names = ("Credential", "SignedHeaders", "Signature")
        fields = {name: query.get(f"X-Amz-{name}", "") for name in names}
        date = query.get("X-Amz-Date", "")
    else:
        raise RefusedError(
            "MissingAuthenticationToken", "Request is missing Authentication Token", status=403
        )
    return _check(fields, date, now=now)


def _check(fields: Mapping[str, str], date: str, *, now: datetime) -> Caller:
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not fields.get(name):
            raise _incomplete(f"Authorization header requires '{name}' parameter.")
    scope = _SCOPE.fullmatch(fields["Credential"])
    if scope is None:
        raise _incomplete("Credential must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request")
    if not _SIGNATURE.fullmatch(fields["Signature"]) or not _HEADERS.fullmatch(
        fields["SignedHeaders"]
    ):
        raise _incomplete("Signature or SignedHeaders are not well formed")
    try:
        at = _moment(date)
    except ValueError:
        raise _incomplete("Authorization header requires existence of 'X-Amz-Date'") from None
    if not date.startswith(scope[2]):
        raise RefusedError(
            "SignatureDoesNotMatch", "Date in Credential scope does not match the date", status=403
        )
    if abs((now - at).total_seconds()) > _MOST_SKEW_S:
        raise RefusedError("RequestExpired", "Request has expired.")
    return Caller(scope[1], scope[3], scope[4])


@functools.lru_cache(16)
def _moment(date: str) -> datetime:
    return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _incomplete(message: str) -> RefusedError:
    return RefusedError("IncompleteSignature", message)
