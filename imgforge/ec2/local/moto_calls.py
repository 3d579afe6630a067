"""Requests of KMS, IAM and STS, as moto's own code answers them; loaded when the first comes.

Moto is asked by its classes and not as a server: Flask and the other services stay outside.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.core.request import Request as MotoRequest
from moto.core.responses import ActionResult, BaseResponse
from moto.iam.models import iam_backends
from moto.iam.responses import IamResponse
from moto.kms.models import Key, kms_backends
from moto.kms.responses import KmsResponse
from moto.sts.responses import TokenResponse
from moto.utilities.utils import get_partition

from imgforge.catalog import KeyFacts
from imgforge.ec2.local.moto_state import MotoState

_EBS_ALIAS = "alias/aws/ebs"


class _Tokens(TokenResponse):
    """STS; who signs with no user's access key is the account itself."""

    def get_caller_identity(self) -> ActionResult:
        """Tell who asks."""
        account, found = self.current_account, None
        for user in self._users():
            if any(key.access_key_id == self.access_key for key in user.access_keys):
                found = user
        return ActionResult(
            {
                "UserId": found.id if found else account,
                "Account": account,
                "Arn": found.arn if found else f"arn:{self.partition}:iam::{account}:root",
            }
        )

    def _users(self) -> Any:
        return iam_backends[self.current_account][self.partition].users.values()


_RESPONSES: Mapping[str, type[BaseResponse]] = {
    "kms": KmsResponse,
    "iam": IamResponse,
    "sts": _Tokens,
}


@dataclass(frozen=True, slots=True)
class MotoCall:
    """A request for moto: of which service, by whom, and what is in it."""

    service: str
    account_id: str
    region: str
    headers: Mapping[str, str]
    body: bytes


class MotoCalls:
    """KMS, IAM and STS with their records below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._state = MotoState(folder)

    def answer(self, call: MotoCall) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body. Raises whatever moto raises for what it cannot do."""
        request = MotoRequest.from_primitives(
            "POST",
            f"https://{call.service}.{call.region}.amazonaws.com/",
            {**call.headers, "x-moto-account-id": call.account_id},
            call.body,
        )
        with self._records(call.region, call.account_id):
            status, headers, body = _RESPONSES[call.service].dispatch(
                request, request.url, request.headers
            )
        content = body.encode() if isinstance(body, str) else bytes(body or b"")
        known = {name.lower(): str(value) for name, value in dict(headers).items()}
        return int(known.pop("status", status)), known, content

    def find_key(self, given: str, region: str, account_id: str) -> KeyFacts | None:
        """Return the key that an id, an alias or an ARN names in a region; None where none is."""
        owner, name = account_id, given
        if given.startswith("arn:"):
            *_, owner, name = given.split(":", 5)
            name = name.removeprefix("key/")
        with self._records(region, owner):
            keys = kms_backends[owner][region].keys.values()
            for key in keys:
                if name in {key.id, *key.aliases}:
                    return _facts(key)
        return None

    def certificates(self, account_id: str, region: str) -> tuple[str, ...]:
        """Return the active signing certificates of an account's users, in PEM."""
        with self._records(region, account_id):
            users = iam_backends[account_id][get_partition(region)].users.values()
            return tuple(
                certificate.body
                for user in users
                for certificate in user.signing_certificates.values()
                if certificate.status == "Active"
            )

    @contextmanager
    def _records(self, region: str, account_id: str) -> Iterator[None]:
        with self._state.opened():
            _make_ebs_key(region, account_id)
            yield


def _make_ebs_key(region: str, account_id: str) -> None:
    """Let the account's own key for EBS be there, under the ARN that snapshots have."""
    backend = kms_backends[account_id][region]
    arn = KeyFacts.of_ebs(region, account_id).arn
    key_id = arn.rpartition("/")[2]
    if key_id in backend.keys:
        return
    words = "Default key that protects my EBS volumes when no other key is defined"
    key = backend.create_key(None, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", words, None)
    del backend.keys[key.id]
    key.id, key.arn, key.key_manager = key_id, arn, "AWS"
    backend.keys[key_id] = key
    backend.create_alias(key_id, _EBS_ALIAS)


def _facts(key: Key) -> KeyFacts:
    return KeyFacts(key.arn, key.region, spec=key.key_spec, state=key.key_state)
