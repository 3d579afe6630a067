"""What EC2 says where it refuses a request."""

from imgforge.errors import ExitCode, ImgforgeError


class RefusedError(ImgforgeError):
    """EC2 refuses: `code` is its error code, `status` the HTTP status (EC2 API, Error codes).

    `reason` is what EBS direct adds to some of its errors, "" elsewhere.
    """

    exit_code = ExitCode.CLOUD_REFUSED

    def __init__(self, code: str, message: str, *, status: int = 400, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.reason = reason


def invalid_value(value: object, parameter: str, *, why: str = "") -> RefusedError:
    """Return EC2's answer to a value that a parameter cannot have."""
    rest = f" {why}" if why else ""
    message = f"Value ({value}) for parameter {parameter} is invalid.{rest}"
    return RefusedError("InvalidParameterValue", message)


def missing(parameter: str) -> RefusedError:
    """Return EC2's answer to a request without a parameter that it needs."""
    message = f"The request must contain the parameter {parameter}"
    return RefusedError("MissingParameter", message)


def combination(message: str) -> RefusedError:
    """Return EC2's answer to parameters that exclude each other."""
    return RefusedError("InvalidParameterCombination", message)
