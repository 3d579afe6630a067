"""EC2's limit on user data, held wherever some is given."""

USER_DATA_LIMIT_BYTES = 16 * 1024
"""What EC2 takes: of the data itself, before base64.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html
"""


def excess(data: bytes) -> str:
    """Return what is wrong with the size of user data, as a clause; "" where EC2 takes it."""
    if len(data) <= USER_DATA_LIMIT_BYTES:
        return ""
    return (
        f"user data of {len(data)} bytes, where EC2 takes at most {USER_DATA_LIMIT_BYTES} "
        "(16 KiB, before base64)"
    )
