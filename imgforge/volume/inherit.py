"""What an instance hands on to an image of it: asked of its own metadata service, in little time.

As ec2-bundle-vol does without --no-inherit: kernel-id, ramdisk-id, block-device-mapping/,
product-codes and ancestor-ami-ids below http://169.254.169.254/latest/meta-data/ ("Instance
Metadata Categories"); by a token where the service gives one (IMDSv2).
"""

import http.client
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

_LIMIT_S = 1.0
_WHOLE_LIMIT_S = 5.0
_LARGEST_BYTES = 65536
_SESSION_S = "60"
_KERNEL = re.compile(r"aki-[0-9a-z]{1,32}")
_RAMDISK = re.compile(r"ari-[0-9a-z]{1,32}")
_AMI = re.compile(r"ami-[0-9a-z]{1,32}")
_PRODUCT_CODE = re.compile(r"[A-Za-z0-9]{1,64}")
_VIRTUAL = re.compile(r"ami|root|swap|ephemeral[0-9]{1,2}|ebs[A-Za-z0-9]{1,8}")
_DEVICE = re.compile(r"(?:/dev/)?[a-z][a-z0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the metadata service said; texts are empty, and tuples too, where it has nothing."""

    kernel_id: str = ""
    ramdisk_id: str = ""
    mappings: tuple[tuple[str, str], ...] = ()
    product_codes: tuple[str, ...] = ()
    ancestors: tuple[str, ...] = ()


def ask_instance(endpoint: str) -> Inherited | None:
    """Ask the metadata service at `endpoint`; None where there is none.

    It takes 5 s at most, and 1 s where nobody answers.
    """
    try:
        service = _Service(endpoint)
        ami = service.words("ami-id", _AMI)
        if not ami:  # no instance: somebody else's answer, as of a captive portal
            return None
        return Inherited(
            kernel_id="".join(service.words("kernel-id", _KERNEL)[:1]),
            ramdisk_id="".join(service.words("ramdisk-id", _RAMDISK)[:1]),
            mappings=tuple(_mappings(service)),
            product_codes=service.words("product-codes", _PRODUCT_CODE),
            ancestors=(*service.words("ancestor-ami-ids", _AMI), *ami),
        )
    except (OSError, http.client.HTTPException, ValueError):
        return None


class _Service:
    """One HTTP connection after another, all within a limit."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}", scheme="http")
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{endpoint} is no http address")
        self._host, self._port = parts.hostname, parts.port or 80
        self._end_s = time.monotonic() + _WHOLE_LIMIT_S
        asked = {"X-aws-ec2-metadata-token-ttl-seconds": _SESSION_S}
        token = self._ask("PUT", "/latest/api/token", asked)
        self._headers = {"X-aws-ec2-metadata-token": token.strip()} if token else {}

    def words(self, name: str, rule: re.Pattern[str]) -> tuple[str, ...]:
        """Return the words of a category that are what they should be; none where it is missing."""
        text = self._ask("GET", f"/latest/meta-data/{name}", self._headers) or ""
        return tuple(word for word in text.split() if rule.fullmatch(word))

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the metadata service takes too long")
        connection = http.client.HTTPConnection(
            self._host, self._port, timeout=min(_LIMIT_S, left_s)
        )
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            text = answer.read(_LARGEST_BYTES)
        finally:
            connection.close()
        return text.decode("utf-8", errors="replace") if answer.status == 200 else None


def _mappings(service: _Service) -> Iterator[tuple[str, str]]:
    for name in service.words("block-device-mapping/", _VIRTUAL):
        for device in service.words(f"block-device-mapping/{name}", _DEVICE)[:1]:
            yield name, device
