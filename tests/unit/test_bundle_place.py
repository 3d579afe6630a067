"""Where bundles stand in S3: bucket names and keys by S3's rules."""

import pytest

from imgforge.bucket_name import bucket_name_problem, key_problem
from imgforge.errors import BadInputError
from imgforge.transfer import BundlePlace, split_manifest_url


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("my-s3-bucket", "my-s3-bucket", ""),
        ("my-s3-bucket/", "my-s3-bucket", ""),
        ("my-s3-bucket/bundle_folder/bundle_name", "my-s3-bucket", "bundle_folder/bundle_name"),
        ("s3://my.bucket.name/a b/ü/", "my.bucket.name", "a b/ü"),
    ],
)
def test_a_place_is_read_as_people_write_it(text: str, bucket: str, prefix: str) -> None:
    place = BundlePlace.parse(text)
    assert (place.bucket, place.prefix) == (bucket, prefix)
    assert BundlePlace.parse(str(place)) == place
    assert place.key("x") == (f"{prefix}/x" if prefix else "x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "s3://",
        "ab",
        "a" * 64,
        "Capitals",
        "under_score",
        "-hyphen",
        "hyphen-",
        "two..dots",
        "192.168.0.1",
        "xn--bucket",
        "bucket-s3alias",
        "bücket",
        "bucket/a//b",
        "bucket/../b",
        "bucket/./b",
        "bucket/a\nb",
        "bucket/\udcff",
        "bucket/" + "k" * 1000,
    ],
)
def test_what_s3_would_refuse_is_refused_before_it_is_asked(text: str) -> None:
    with pytest.raises(BadInputError):
        BundlePlace.parse(text)


def test_a_manifests_url_is_its_place_and_its_name() -> None:
    place = BundlePlace("some-bucket", "a/b")
    assert split_manifest_url("s3://some-bucket/a/b/x.manifest.xml") == (place, "x.manifest.xml")
    assert split_manifest_url("some-bucket/a/b") == (place, "")


def test_keys_have_at_most_1024_bytes() -> None:
    assert not key_problem("ü" * 512)
    assert key_problem("ü" * 513)
    assert key_problem("")
    assert key_problem("\ud800")
    assert not bucket_name_problem("a1b")
