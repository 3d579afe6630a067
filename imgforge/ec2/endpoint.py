"""Who answers: AWS, an endpoint somebody named, or the embedded one where nothing is configured."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from imgforge.errors import BadInputError

LOCAL = "local"
"""As an endpoint's URL: the embedded one, whatever is configured."""
AWS = "aws"
"""As an endpoint's URL: AWS, as of an instance whose role gives credentials, with no file."""
FIRST_REGION = "us-east-1"
"""Where S3 and the AMI tools go when nobody names a region."""
_AWS_KEY = re.compile(r"[A-Z0-9]{16,128}")
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+){1,4}")


class EndpointKind(StrEnum):
    """What stands behind an endpoint."""

    AWS = "aws"
    URL = "url"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys that were given for this one command; never shown."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class CloudWish:
    """What the command line says of the cloud; empty texts say nothing."""

    region: str = ""
    profile: str = ""
    url: str = ""
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who answers; `url` is "" where boto3 finds it, `why` is what decided."""

    kind: EndpointKind
    url: str
    why: str

    @property
    def is_near(self) -> bool:
        """Whether it is on this host: then its processors are ours."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "::1", "localhost"}


def refuse_unusable(url: str) -> None:
    """Raise BadInputError for what is no endpoint's URL, and for one with a user or a password.

    That is shown nowhere. No endpoint of AWS's takes one: a request is signed.
    """
    if "@" in url.partition("?")[0]:
        raise BadInputError(
            "Endpoint: its URL has a password in it, or a user; leave that out.",
            hint="A request is signed by an access key: AWS_ACCESS_KEY_ID, or a profile.",
        )
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        is_good = False
    if not is_good:
        raise BadInputError(
            f"Endpoint {url!r}: is no URL of http or https.",
            hint=f"{LOCAL!r} names the endpoint that imgforge brings, {AWS!r} that of AWS.",
        )


def alike_regions(name: str, known: Sequence[str]) -> str:
    """Return a sentence about those regions that a name that is none may have meant."""
    start = name.partition("-")[0]
    alike = [one for one in known if one.startswith(f"{start}-")]
    return f"There are {', '.join(alike or known)}."


def choose_endpoint(wish: CloudWish, *, configured: str) -> Endpoint:
    """Decide who answers; `configured` names the variable or the file that configures AWS.

    A URL decides first, then whatever configures AWS as boto3 knows it: credentials or a profile of
    the command line, variables, files. Credentials that no account of AWS can have (`-a local`)
    mean nothing there. Raises BadInputError.
    """
    if wish.region and not _REGION.fullmatch(wish.region):
        raise BadInputError(
            f"Region {wish.region!r}: is no region's name, such as us-east-1 or eu-west-1."
        )
    if wish.url == LOCAL:
        return Endpoint(EndpointKind.EMBEDDED, "", "it was asked for")
    if wish.url == AWS:
        return Endpoint(EndpointKind.AWS, "", "it was asked for")
    if wish.url:
        refuse_unusable(wish.url)
        return Endpoint(EndpointKind.URL, wish.url, "its URL was given")
    if wish.profile:
        return Endpoint(EndpointKind.AWS, "", f"the profile {wish.profile}")
    if wish.credentials is not None and _AWS_KEY.fullmatch(wish.credentials.access_key):
        return Endpoint(EndpointKind.AWS, "", "an access key was given")
    if configured:
        return Endpoint(EndpointKind.AWS, "", configured)
    return Endpoint(EndpointKind.EMBEDDED, "", "nothing configures AWS")
