"""What boto3 raises, in words: who refused what, and what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import botocore.session
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from imgforge.ec2.answer_limits import EndlessAnswerError, StrangeAnswerError
from imgforge.errors import BadInputError, CloudError, HostError, ImgforgeError

_SHOWN_CHARACTERS = 300
_REFUSED_KEYS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidToken"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_BUSY = {
    "SlowDown",
    "503",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "RequestThrottledException",
    "RequestLimitExceeded",
}
_ELSEWHERE = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
}
_NOT_READ = {
    "KMS": "what is no JSON",
    "S3": "what is no XML",
    "EC2": "what is no XML",
    "EBS": "what is no JSON",
}
_AWS_HOST = re.compile(r"https?://[a-z0-9-]+\.([a-z0-9-]+)\.(?:amazonaws\.com|api\.aws)")
_AGAIN = "What was done so far stays: run the command again when it answers."
# What botocore raises for a value that is not of its type, such as a size "abc".
_MALFORMED = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
_NO_ACLS = (
    "EC2 reads a bundle by its ACL. Let the bucket take ACLs (aws s3api "
    "put-bucket-ownership-controls, ObjectOwnership=BucketOwnerPreferred), name another bucket, or "
    "use --acl bucket-owner-full-control for a bundle that EC2 is not to read."
)
_HINTS = {
    **dict.fromkeys(_REFUSED_KEYS, "Check the access key, its secret, and whose account it is of."),
    **dict.fromkeys(
        _EXPIRED, "Get new credentials; what was uploaded stays, and is not sent anew."
    ),
    **dict.fromkeys(_DENIED, "The credentials must be allowed to do that; it is not tried again."),
    **dict.fromkeys(
        _BUSY, "It was tried again and again; what was done stays: run it again later."
    ),
    "AccessControlListNotSupported": _NO_ACLS,
    "BucketAlreadyExists": "The name is taken by another account: choose another.",
    "RequestTimeTooSkewed": "This host's clock is wrong: set it.",
}


_OF_REGIONS = "scoped to a valid region"
"""What EC2 says of a region that there is not, with the code of wrong keys."""
_NO_REGION = "Look at the region's name: --region, AWS_REGION, your profile."


def error_code(error: boto.ClientError) -> str:
    """Return the code of a refusal, such as NoSuchKey; of HEAD only a status, such as 404."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def explained(what: str, *, service: str = "S3") -> Iterator[None]:
    """Tell what boto3 raises as what it is; `what` is the object it is about.

    Raises CloudError for a refusal, HostError where nobody answers, BadInputError for a profile or
    a region that is none.
    """
    try:
        yield
    except (
        boto.ClientError,
        boto.BotoCoreError,
        boto.HTTPClientError,
        ResponseParserError,
        RecursionError,
    ) as error:
        raise explain(what, error, service=service) from None
    except _MALFORMED as error:
        if not _is_of_botocore(error.__traceback__):
            raise
        raise no_answer(what, "a value that is none", service=service) from None


def _is_of_botocore(trace: TracebackType | None) -> bool:
    """Tell whether an error came up in botocore, as while it reads an answer, not in our code."""
    names = []
    while trace is not None:
        names.append(str(trace.tb_frame.f_globals.get("__name__")))
        trace = trace.tb_next
    return any(one.startswith("botocore.") for one in names) and "imgforge" not in names[-1]


def explain(what: str, error: Exception, *, service: str = "S3") -> ImgforgeError:
    """Return an error of ours for one of boto3's. No secret is in it."""
    match error:
        case boto.ClientError():
            return _refusal(what, error, service=service)
        case StrangeAnswerError():
            return no_answer(what, error.found, service=service)
        case EndlessAnswerError():
            return HostError(f"{what}: {error}.", hint=_AGAIN)
        case boto.NoCredentialsError() | boto.PartialCredentialsError():
            return CloudError(
                f"{what}: there are no credentials to ask with.",
                code="NoCredentials",
                hint="Give some as boto3 takes them: AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, a profile, or ~/.aws/credentials. --url local means the "
                "endpoint that imgforge brings, and needs none.",
            )
        case boto.ProfileNotFound():
            return BadInputError(f"{what}: {_short(error)}.")
        case boto.InvalidRegionError() | boto.UnknownEndpointError() | boto.ParamValidationError():
            return BadInputError(f"{what}: {_short(error)}")
        case RecursionError():  # boto3 asks a HEAD that is answered with 301 for its region by HEAD
            return no_answer(what, "a redirection that names no region", service=service)
        case ResponseParserError():
            return no_answer(what, _NOT_READ[service], service=service)
        case boto.ConnectionError() | boto.HTTPClientError():
            return _silence(what, error)
        case _:
            return HostError(f"{what}: {_short(error)}")


def no_s3(what: str, found: str) -> CloudError:
    """Return the error for an answer that no S3 gives; `found` says what it has."""
    return no_answer(what, found, service="S3")


def no_answer(what: str, found: str, *, service: str) -> CloudError:
    """Return the error for an answer that no service of this name ("EC2") gives."""
    return CloudError(
        f"{what}: the endpoint answered with {found}, as no {service} does.",
        code=f"No{service}",
        hint="Look at the endpoint's URL (--url, AWS_ENDPOINT_URL), and for a proxy or a log-in "
        "page on the way to it.",
    )


def _silence(what: str, error: boto.ConnectionError | boto.HTTPClientError) -> HostError:
    if isinstance(error, boto.ProxyConnectionError):
        return HostError(
            f"{what}: the proxy on the way to the endpoint does not answer: {_short(error)}",
            hint=f"Look at HTTP_PROXY and HTTPS_PROXY; NO_PROXY names who needs none. {_AGAIN}",
        )
    hint = _silence_hint(error)
    return HostError(f"{what}: the endpoint does not answer: {_short(error)}", hint=hint)


def _silence_hint(error: boto.ConnectionError | boto.HTTPClientError) -> str:
    """Return what to do where nobody answers: a region that AWS has not has no host either."""
    asked = _AWS_HOST.match(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
    if asked is None or not isinstance(error, boto.EndpointConnectionError):
        return _AGAIN
    known = botocore.session.Session()
    partitions = known.get_available_partitions()
    regions = {one for name in partitions for one in known.get_available_regions("ec2", name)}
    if asked[1] in regions:
        return _AGAIN
    return (
        f"boto3 knows no region {asked[1]}: look at --region, AWS_REGION and your profile. "
        "One that is newer needs a newer boto3."
    )


def _refusal(what: str, error: boto.ClientError, *, service: str) -> ImgforgeError:
    code = _plain(error_code(error)) or "with no code"
    message = str(error.response.get("Error", {}).get("Message", "")) or "no words"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if service == "S3" and code in _ELSEWHERE and (words := _elsewhere(error)):
        return CloudError(f"{what}: refused, {code}: {words[0]}", code=code, hint=words[1])
    hint = _NO_REGION if _OF_REGIONS in message else _HINTS.get(code, "")
    if not hint and status >= 500:
        hint = "The endpoint fails, which says nothing of the image: run the command again later."
    reason = _plain(str(error.response.get("Reason", "")))
    told = f"{what}: refused, {code}: {_plain(message)}"
    return CloudError(told, code=code, reason=reason, hint=hint)


def _elsewhere(error: boto.ClientError) -> tuple[str, str] | None:
    """Return what a wrong region is told as, and the next step; None where it is something else.

    S3 names the right one in a header or in the refusal itself, mostly
    (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
    """
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    refusal = error.response.get("Error", {})
    region = _plain(str(headers.get("x-amz-bucket-region") or refusal.get("Region") or ""))
    if region:
        return (
            f"the bucket is in {region}, and another region was asked.",
            f"Give --region {region}.",
        )
    if error_code(error) == "AuthorizationHeaderMalformed":  # of other causes as well
        return None
    return (
        "the bucket, or the endpoint, is of another region than the one that was asked.",
        "Give the bucket's own region with --region; its owner sees it with "
        "aws s3api get-bucket-location.",
    )


def _short(error: Exception) -> str:
    return _plain(str(error))


def _plain(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"
