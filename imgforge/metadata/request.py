"""What the metadata service was asked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetadataRequest:
    """One request of the guest: a line of metadata.jsonl.

    `at_s` counts from the start of the machine on the host's monotonic clock; `version` is the
    first part of the path; `token` tells whether it carried a valid IMDSv2 token, or got one.
    `guest_address` is the guest's IPv4 address: that of its connection, or, where it came through
    QEMU's user network or from the service's own address, the instance's. `fault` says in words
    what was wrong with the answer, "" where nothing was; `cut` how the connection was cut off
    before its end ("" where it was not), and `status` is 0 where that was before the answer.
    """

    at_s: float
    method: str
    path: str
    version: str
    token: bool
    status: int
    user_agent: str
    guest_address: str = ""
    fault: str = ""
    cut: str = ""
