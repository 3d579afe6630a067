"""What can go wrong, told so that the next step is clear."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell sees; documented in the README."""

    DONE = 0
    IMAGE_REJECTED = 1
    BAD_INPUT = 2
    HOST_OR_TOOL = 3
    CLOUD_REFUSED = 4
    INTERRUPTED = 130


class ImgforgeError(Exception):
    """A failure with a sentence for the person who ran the command.

    The message says what failed, which object, what was found and what is needed;
    `hint` is the next thing to do.
    """

    exit_code = ExitCode.HOST_OR_TOOL

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class FieldError(ValueError):
    """A field's value is none, told by its owner; `place` are the keys and indexes that lead there.

    A file's reader finds its line by them.
    """

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place = place


class BadInputError(ImgforgeError):
    """A recipe, a disk or an argument cannot be what it is."""

    exit_code = ExitCode.BAD_INPUT


class ImageRejectedError(ImgforgeError):
    """The image was looked at and found wanting."""

    exit_code = ExitCode.IMAGE_REJECTED


class HostError(ImgforgeError):
    """The host, or a program on it, failed; it says nothing of the image."""

    exit_code = ExitCode.HOST_OR_TOOL


class MissingProgramError(HostError):
    """A program is not on PATH."""


class CommandError(HostError):
    """A program ended badly: its replayable line and the end of what it said."""


class CloudError(ImgforgeError):
    """The cloud, or an endpoint in its place, refused; `code` is its own word for it.

    `reason` is what EBS direct says beside it.
    """

    exit_code = ExitCode.CLOUD_REFUSED

    def __init__(self, message: str, *, code: str = "", reason: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.reason = reason
