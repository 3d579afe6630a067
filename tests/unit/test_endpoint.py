"""Who answers: AWS, an endpoint somebody named, or the embedded one."""

import os
from pathlib import Path

import pytest

from imgforge.ec2 import CloudWish, Credentials, EndpointKind
from imgforge.ec2.endpoint import choose_endpoint
from imgforge.errors import BadInputError
from imgforge.host import configured_aws

AWS = Credentials("AKIAIOSFODNN7EXAMPLE", "secret")
NOBODY = Credentials("your_access_key_id", "your_secret_access_key")


@pytest.mark.parametrize(
    ("wish", "configured", "kind"),
    [
        (CloudWish(), "", EndpointKind.EMBEDDED),
        (CloudWish(region="eu-west-1"), "", EndpointKind.EMBEDDED),
        (CloudWish(), "AWS_PROFILE", EndpointKind.AWS),
        (CloudWish(profile="work"), "", EndpointKind.AWS),
        (CloudWish(credentials=AWS), "", EndpointKind.AWS),
        (CloudWish(credentials=NOBODY), "", EndpointKind.EMBEDDED),
        (CloudWish(credentials=NOBODY), "AWS_ENDPOINT_URL", EndpointKind.AWS),
        (CloudWish(url="http://127.0.0.1:5000"), "AWS_PROFILE", EndpointKind.URL),
        (CloudWish(url="aws"), "", EndpointKind.AWS),
        (CloudWish(url="local", credentials=AWS), "AWS_PROFILE", EndpointKind.EMBEDDED),
    ],
)
def test_what_is_said_first_decides(wish: CloudWish, configured: str, kind: EndpointKind) -> None:
    assert choose_endpoint(wish, configured=configured).kind is kind


@pytest.mark.parametrize(
    "wish",
    [
        CloudWish(region="us east 1"),
        CloudWish(region="-"),
        CloudWish(url="somewhere"),
        CloudWish(url="file:///etc/passwd"),
        CloudWish(url="http://user:word@host"),
        CloudWish(url="http://"),
    ],
)
def test_what_cannot_be_is_refused(wish: CloudWish) -> None:
    with pytest.raises(BadInputError) as caught:
        choose_endpoint(wish, configured="")
    assert "word" not in str(caught.value).replace("password", "")


def test_secrets_are_never_shown() -> None:
    assert "your_secret" not in repr(CloudWish(credentials=NOBODY))


def test_aws_is_configured_by_boto3s_variables_and_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")  # says where, not what
    assert configured_aws() == ""
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "config").touch()
    assert configured_aws() == ""
    (folder / "config").write_text("[default]\n")
    assert configured_aws() == str(folder / "config")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "x")
        assert configured_aws() == name
        monkeypatch.delenv(name)
