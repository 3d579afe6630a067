"""A file system without space, or read-only: said once here, and to clients so that they give up.

Answers of 500 are sent again for minutes, and some codes of quotas too (botocore's standard mode);
these are not.
"""

import errno
from collections.abc import Collection
from pathlib import Path

from imgforge.progress import warn

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_EBS = (402, "ServiceQuotaExceededException")  # its status by botocore's model
_REFUSALS = {
    "ec2": (400, "ResourceLimitExceeded"),
    "ebs": _EBS,
    "rbin": _EBS,
    "kms": (400, "ServiceQuotaExceededException"),
    "iam": (409, "LimitExceeded"),
}
_OTHER = (400, "ServiceQuotaExceeded")
_CHANGELESS = {"ec2": (400, "UnsupportedOperation"), "s3": (403, "AccessDenied")}
_OTHER_CHANGELESS = (400, "ValidationException")


def is_unwritable(error: BaseException) -> bool:
    """Tell whether an error, or one that it came of, is of a file system that takes no more."""
    return is_full(error) or is_read_only(error)


def is_full(error: BaseException) -> bool:
    """Tell whether an error, or one that it came of, is of a file system without space."""
    return _is_of(error, _FULL, "SQLITE_FULL")


def is_read_only(error: BaseException) -> bool:
    """Tell whether an error, or one that it came of, is of what this user may not write to."""
    return _is_of(error, _READ_ONLY, "SQLITE_READONLY")


def _is_of(error: BaseException, numbers: Collection[int], name: str) -> bool:
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in numbers:
            return True
        if getattr(found, "sqlite_errorname", "").startswith(name):
            return True
        found = found.__cause__ or found.__context__
    return False


class FullFolder:
    """The folder that services write to, once it is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_told = False

    def refusal(self, service: str, error: BaseException) -> tuple[int, str, str]:
        """Return the status, the code and the message of a service's refusal; warn the first time.

        Each of them ends the request for clients of AWS's: none is one that they send again.
        """
        if not is_full(error):
            message = f"The catalog {self._folder} is read-only here: nothing in it can be changed."
            return (*_CHANGELESS.get(service, _OTHER_CHANGELESS), message)
        message = f"no space is left on the file system of {self._folder}"
        if not self._is_told:
            self._is_told = True
            warn(f"{message}: what needs some is refused until there is.")
        status, code = _REFUSALS.get(service, _OTHER)
        return status, code, f"On this endpoint's host {message}."
