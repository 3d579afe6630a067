"""What all tests have: whether those of AWS's life of an image ask AWS itself."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --aws."""
    parser.addoption(
        "--aws",
        action="store_true",
        help="tests/integration/test_aws_life.py asks AWS itself, with boto3's own credentials and"
        " region, in the place of imgforge serve; it costs cents, and cleans up",
    )
