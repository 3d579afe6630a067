"""Machine images are tested as people write tests: pytest, a fresh machine for each in a blink.

The pytest plugin is `imgforge.testing.plugin`; a test meets `Machine`, `Console`, `Metadata` and
`Ssh` through its fixtures, and the two ways in which things go wrong.
"""

from imgforge.testing.failure import HarnessError, ImageFailure

__all__ = ["HarnessError", "ImageFailure"]
