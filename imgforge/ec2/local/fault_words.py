"""What a service says where a fault is told in words."""

from imgforge.catalog import RefusedError
from imgforge.ec2.local.fault import FaultKind


def refusal(kind: FaultKind, service: str) -> RefusedError | None:
    """Return what a service says where a fault is told in words; None where it is not."""
    if service == "s3":
        return _of_s3(kind)
    if service in {"ebs", "ec2"}:
        return _of_ec2(kind, is_ebs=service == "ebs")
    return _common(kind, is_query=service in {"iam", "sts"})


def _of_ec2(kind: FaultKind, *, is_ebs: bool) -> RefusedError | None:
    match kind:
        case FaultKind.THROTTLE if is_ebs:
            return RefusedError(
                "RequestThrottledException", "Rate exceeded", reason="ACCOUNT_THROTTLED"
            )
        case FaultKind.THROTTLE:
            return RefusedError("RequestLimitExceeded", "Request limit exceeded.", status=503)
        case FaultKind.ERROR:
            code = "InternalServerException" if is_ebs else "InternalError"
            return RefusedError(code, "An internal error has occurred", status=500)
        case FaultKind.UNAVAILABLE:
            code = "ServiceUnavailableException" if is_ebs else "Unavailable"
            return RefusedError(code, "The service is unavailable. Try again.", status=503)
        case FaultKind.DENIED if is_ebs:
            return RefusedError(
                "AccessDeniedException", "Access denied", status=403, reason="UNAUTHORIZED_ACCOUNT"
            )
        case FaultKind.DENIED:
            return RefusedError(
                "UnauthorizedOperation",
                "You are not authorized to perform this operation.",
                status=403,
            )
        case FaultKind.EXPIRED if is_ebs:
            return RefusedError(
                "ExpiredTokenException", "The security token is expired", status=403
            )
        case FaultKind.EXPIRED:
            return RefusedError("RequestExpired", "Request has expired.")
        case _:
            return None


def _of_s3(kind: FaultKind) -> RefusedError | None:
    """Return what S3 says (S3 API, Error responses)."""
    match kind:
        case FaultKind.THROTTLE:
            return RefusedError("SlowDown", "Please reduce your request rate.", status=503)
        case FaultKind.ERROR:
            return RefusedError("InternalError", "We encountered an internal error.", status=500)
        case FaultKind.UNAVAILABLE:
            return RefusedError("ServiceUnavailable", "Please try again.", status=503)
        case FaultKind.DENIED:
            return RefusedError("AccessDenied", "Access Denied", status=403)
        case FaultKind.EXPIRED:
            return RefusedError("ExpiredToken", "The provided token has expired.")
        case _:
            return None


def _common(kind: FaultKind, *, is_query: bool) -> RefusedError | None:
    """Return what newer services say, and IAM and STS in shorter words (AWS, Common errors)."""
    end = "" if is_query else "Exception"
    match kind:
        case FaultKind.THROTTLE:
            return RefusedError(f"Throttling{end}", "Rate exceeded")
        case FaultKind.ERROR:
            code = "InternalFailure" if is_query else "InternalServerException"
            return RefusedError(code, "An internal error has occurred", status=500)
        case FaultKind.UNAVAILABLE:
            return RefusedError(f"ServiceUnavailable{end}", "Try again.", status=503)
        case FaultKind.DENIED:
            return RefusedError(f"AccessDenied{end}", "You are not authorized.", status=403)
        case FaultKind.EXPIRED:
            code = f"ExpiredToken{end}"
            return RefusedError(code, "The security token is expired", status=403)
        case _:
            return None
