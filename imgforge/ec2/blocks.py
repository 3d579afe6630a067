"""EBS direct: snapshots written and read block by block, over the network.

Source: EBS direct API reference. A block has 512 KiB, and each goes with its SHA-256.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from botocore import exceptions as boto
from botocore import xform_name
from botocore.parsers import ResponseParserError

from imgforge.ec2.answer_form import find_deformity
from imgforge.ec2.block_wire import BlockWire
from imgforge.ec2.image import Told, is_id
from imgforge.ec2.paging import Patience
from imgforge.ec2.plain_http import BlockAnswer
from imgforge.ec2.problem import error_code, explain, explained, no_answer
from imgforge.errors import CloudError, HostError, ImgforgeError

BLOCK_BYTES = 512 * 1024
"""EBS direct's block size; the last block of a disk is padded with zeros."""
_MOST_GIB = 65_536
_BLOCKS_OF_GIB = 2**30 // BLOCK_BYTES
_MOST_BLOCKS_OF_PAGE = 10_000
_THROTTLED = {
    "ThrottlingException",
    "RequestThrottledException",
    "Throttling",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "429",
}
_NOT_FOUND = "ResourceNotFoundException"
# Of two requests for one block: an earlier one of ours may still be under way.
_CONFLICT = "CONFLICTING_BLOCK_UPDATE"
_SILENT = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
)


class Trouble(StrEnum):
    """Why a request may be answered later, as it is."""

    THROTTLED = "was throttled"
    FAILED = "failed at the endpoint"
    SILENT = "was not answered"
    UNKNOWN_YET = "is for a snapshot that is not known yet"


class TroubleError(Exception):
    """A failure that may pass; `error` is what it is told as where it does not."""

    def __init__(self, trouble: Trouble, error: ImgforgeError) -> None:
        super().__init__(str(error))
        self.trouble = trouble
        self.error = error


@dataclass(frozen=True, slots=True)
class SnapshotStart:
    """A snapshot to be; the same token again gives the one that is there."""

    volume_size_gib: int
    token: str
    description: str = ""
    parent_id: str = ""
    is_encrypted: bool = False
    kms_key_arn: str = ""
    timeout_minutes: int = 60
    """How long nothing may be written before the endpoint gives the snapshot up."""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StartedSnapshot:
    """A snapshot that blocks can be put into."""

    snapshot_id: str
    volume_size_gib: int
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class ListedBlock:
    """A block that a snapshot has; its token opens it for seven days."""

    number: int
    token: str


@dataclass(frozen=True, slots=True)
class BlockList:
    """A page of a snapshot's blocks."""

    volume_size_gib: int
    blocks: tuple[ListedBlock, ...]


class Blocks:
    """EBS direct in a region. May be used by several threads.

    What it refuses is a CloudError with its code; `put` and `get` are tried once.
    """

    def __init__(self, client: Any, wire: BlockWire) -> None:
        self._client = client
        self._wire = wire

    def start(self, wish: SnapshotStart) -> StartedSnapshot:
        """Start a snapshot. Raises CloudError (ConflictException for a token of another wish)."""
        asked: dict[str, Any] = {
            "VolumeSize": wish.volume_size_gib,
            "ClientToken": wish.token,
            "Timeout": wish.timeout_minutes,
            "Description": wish.description,
            "ParentSnapshotId": wish.parent_id,
            "KmsKeyArn": wish.kms_key_arn,
            "Tags": [{"Key": key, "Value": wish.tags[key]} for key in sorted(wish.tags)],
        }
        asked = {name: value for name, value in asked.items() if value}
        if wish.is_encrypted:
            asked["Encrypted"] = True
        what = "A new snapshot"
        told = self._ask(what, "StartSnapshot", asked)
        if not is_id(told.get("SnapshotId")) or told.get("BlockSize", BLOCK_BYTES) != BLOCK_BYTES:
            raise no_answer(what, "no snapshot of 512 KiB blocks", service="EBS")
        sse = told.get("SseType", "none")
        return StartedSnapshot(
            str(told["SnapshotId"]),
            _volume_size(what, told.get("VolumeSize", wish.volume_size_gib)),
            is_encrypted=bool(told.get("KmsKeyArn")) or sse != "none",
        )

    def put(self, snapshot_id: str, number: int, data: bytes, *, sha256: bytes) -> None:
        """Write a block, whose SHA-256 the endpoint compares.

        Raises TroubleError for what may pass, CloudError.
        """
        checksum = _base64(sha256)
        headers = {
            "x-amz-Data-Length": str(len(data)),
            "x-amz-Checksum": checksum,
            "x-amz-Checksum-Algorithm": "SHA256",
            "Content-Type": "application/octet-stream",
        }
        what = _block(snapshot_id, number)
        answer = self._send(what, "PUT", f"/snapshots/{snapshot_id}/blocks/{number}", headers, data)
        taken = answer.headers.get("x-amz-checksum")
        if taken is None:  # such as from a log-in page
            raise no_answer(what, "no SHA-256 of what it took", service="EBS")
        if taken != checksum:
            raise CloudError(
                f"{what}: was taken with another SHA-256 than it was sent with.", code="BadDigest"
            )

    def get(self, snapshot_id: str, block: ListedBlock) -> tuple[bytes, bytes]:
        """Return a block and its SHA-256, which is compared with what the endpoint says.

        Raises TroubleError for what may pass, damage on its way included, CloudError.
        """
        what = _block(snapshot_id, block.number)
        path = f"/snapshots/{snapshot_id}/blocks/{block.number}"
        answer = self._send(what, "GET", path, {}, b"", query={"blockToken": block.token})
        sha256 = hashlib.sha256(answer.body).digest()
        if len(answer.body) != BLOCK_BYTES:
            error = HostError(f"{what}: came with {len(answer.body)} bytes, not {BLOCK_BYTES}.")
            raise TroubleError(Trouble.SILENT, error)
        if answer.headers.get("x-amz-checksum", "") != _base64(sha256):
            error = HostError(f"{what}: came with another SHA-256 than the endpoint says it has.")
            raise TroubleError(Trouble.FAILED, error)
        return answer.body, sha256

    def complete(self, snapshot_id: str, *, count: int, checksum: str) -> None:
        """End a snapshot of so many blocks, whose LINEAR checksum is compared.

        Raises CloudError (ValidationException where the endpoint has other blocks, or it was
        completed before).
        """
        asked = {
            "SnapshotId": snapshot_id,
            "ChangedBlocksCount": count,
            "Checksum": checksum,
            "ChecksumAlgorithm": "SHA256",
            "ChecksumAggregationMethod": "LINEAR",
        }
        self._ask(f"Snapshot {snapshot_id}", "CompleteSnapshot", asked)

    def list(self, snapshot_id: str) -> Iterator[BlockList]:
        """Yield the blocks that a completed snapshot has, by ascending number, in pages.

        Pages may be empty. Raises CloudError.
        """
        what = f"Snapshot {snapshot_id}"
        known = 0
        for page in self._pages(what, "ListSnapshotBlocks", {"SnapshotId": snapshot_id}):
            size_gib = _volume_size(what, page.get("VolumeSize"))
            blocks = tuple(_listed(what, one) for one in page.get("Blocks") or ())
            known += len(blocks)
            if known > size_gib * _BLOCKS_OF_GIB:
                found = f"more blocks than its {size_gib} GiB have"
                raise no_answer(what, found, service="EBS")
            yield BlockList(size_gib, blocks)

    def _pages(self, what: str, action: str, asked: Mapping[str, Any]) -> Iterator[Told]:
        token = ""
        patience = Patience(f"{what}: the rest of its blocks", service="EBS")
        while True:
            more = {"NextToken": token} if token else {}
            page = self._ask(what, action, {**asked, **more, "MaxResults": _MOST_BLOCKS_OF_PAGE})
            yield page
            patience.spend(is_empty=not page.get("Blocks"))
            before, token = token, str(page.get("NextToken") or "")
            if not token:
                return
            if token == before:
                raise no_answer(what, "a list without an end", service="EBS")

    def _ask(self, what: str, action: str, asked: Mapping[str, Any]) -> Told:
        """Ask for what is no block; return an answer whose members are of their types."""
        with explained(what, service="EBS"):
            told: Told = getattr(self._client, xform_name(action))(**asked)
        shape = self._client.meta.service_model.operation_model(action).output_shape
        if wrong := find_deformity(told, shape):
            raise no_answer(what, f"a {wrong} that is none", service="EBS")
        return told

    def _send(
        self,
        what: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        data: bytes,
        *,
        query: Mapping[str, str] | None = None,
    ) -> BlockAnswer:
        """Send a request once. Raises TroubleError, CloudError, HostError."""
        try:
            return self._wire.send(method, path, headers=headers, data=data, query=query or {})
        except boto.ClientError as error:
            told = explain(what, error, service="EBS")
            trouble = _trouble_of(error)
            if trouble is None:
                raise told from None
            raise TroubleError(trouble, told) from None
        except _SILENT as error:
            told = explain(what, error, service="EBS")
            raise TroubleError(Trouble.SILENT, told) from None
        except (boto.BotoCoreError, ResponseParserError) as error:
            raise explain(what, error, service="EBS") from None


def linear_checksum(digests: Iterator[bytes]) -> str:
    """Return EBS direct's aggregate of raw digests, which come by ascending block number.

    Base64 of the SHA-256 over them all (EBS direct API, CompleteSnapshot: LINEAR).
    """
    aggregate = hashlib.sha256()
    for digest in digests:
        aggregate.update(digest)
    return _base64(aggregate.digest())


def _trouble_of(error: boto.ClientError) -> Trouble | None:
    """Return why a refusal may pass; None for one that stays, such as AccessDenied."""
    code = error_code(error)
    response: Mapping[str, Any] = error.response
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _THROTTLED or status == 429:
        return Trouble.THROTTLED
    if response.get("Reason") == _CONFLICT or status >= 500:
        return Trouble.FAILED
    return Trouble.UNKNOWN_YET if code == _NOT_FOUND else None


def _volume_size(what: str, told: Any) -> int:
    """Return a volume's size in GiB. Raises CloudError for one that no volume has."""
    if not isinstance(told, int) or not 1 <= told <= _MOST_GIB:
        raise no_answer(what, f"a volume of {told!r:.30} GiB", service="EBS")
    return told


def _listed(what: str, one: Told) -> ListedBlock:
    number, token = one.get("BlockIndex"), one.get("BlockToken")
    if number is None or number < 0 or not token:
        raise no_answer(what, "a block without a number or a token", service="EBS")
    return ListedBlock(number, token)


def _block(snapshot_id: str, number: int) -> str:
    return f"Block {number} of {snapshot_id}"


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
