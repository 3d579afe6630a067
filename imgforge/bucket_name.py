"""The names of buckets and objects, by S3's rules.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
"""

import re

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_RESERVED_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
MOST_KEY_BYTES = 1024


def bucket_name_problem(name: str) -> str:
    """Return what keeps a text from being a bucket's name, "" where nothing does."""
    if not 3 <= len(name) <= 63:
        return f"has {len(name)} characters; 3 to 63 are needed"
    if not _NAME.fullmatch(name):
        return (
            "must be of lower-case letters, digits, dots and hyphens, a letter or a digit at "
            "either end"
        )
    if ".." in name:
        return "has two dots side by side"
    if _ADDRESS.fullmatch(name):
        return "is an IP address"
    if name.startswith(_RESERVED_STARTS) or name.endswith(_RESERVED_ENDS):
        return "begins or ends as AWS keeps for itself"
    return ""


def key_problem(key: str) -> str:
    """Return what keeps a text from being an object's key, "" where nothing does."""
    try:
        size_bytes = len(key.encode("utf-8"))
    except UnicodeEncodeError:
        return "is no text in UTF-8"
    if not 0 < size_bytes <= MOST_KEY_BYTES:
        return f"has {size_bytes} bytes; 1 to {MOST_KEY_BYTES} are needed"
    return ""
