"""A disk image in S3, as ImportSnapshot is given it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

_URLS = (
    re.compile(r"s3://(?P<bucket>[a-z0-9.-]{3,63})/(?P<key>.+)", re.DOTALL),
    re.compile(
        r"https://s3[.-]?[a-z0-9-]*\.amazonaws\.com/(?P<bucket>[a-z0-9.-]{3,63})/(?P<key>[^?]+)",
        re.DOTALL,
    ),
    re.compile(
        r"https://(?P<bucket>[a-z0-9.-]{3,63})\.s3[.-]?[a-z0-9-]*\.amazonaws\.com/(?P<key>[^?]+)",
        re.DOTALL,
    ),
)


@dataclass(frozen=True, slots=True)
class ImportSource:
    """An object: where it is, and what it was when the import was asked for."""

    bucket: str
    key: str
    etag: str = ""
    size_bytes: int = 0

    @classmethod
    def asked(cls, container: Mapping[str, Any]) -> "ImportSource | None":
        """Return what a DiskContainer names: a UserBucket, or a URL of S3; None where neither."""
        named = container.get("UserBucket")
        if named is not None:
            return cls(named.get("S3Bucket", ""), named.get("S3Key", ""))
        for pattern in _URLS:
            if match := pattern.fullmatch(container.get("Url", "")):
                key = match["key"]
                return cls(match["bucket"], key if match[0].startswith("s3:") else unquote(key))
        return None


@dataclass(frozen=True, slots=True)
class ImportTask:
    """An import that is to be done."""

    import_task_id: str
    source: ImportSource
    format: str
