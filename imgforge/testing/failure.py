"""The two ways a test can go wrong: the image is not what it should be, or we are not."""

from imgforge.errors import HostError


class ImageFailure(AssertionError):  # noqa: N818  (a failed test, not an error)
    """An assertion about the image does not hold: the test fails, pytest ends with 1."""


class HarnessError(HostError):
    """The host or imgforge failed; it says nothing of the image. pytest ends with 3."""


class StarvedError(HarnessError):
    """A busy host gave a machine too little time to boot: worth a second try."""
