"""The marks by which a test says what its machine is to be.

It stands apart from what they do: every run of pytest loads this.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of a test: its name, positional and named arguments."""

    name: str
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)


MARKS = (
    "instance_type(name): the machine's hardware, such as t2.micro (the default) or m3.medium",
    "user_data(text or bytes): what the instance is launched with, at most 16 KiB",
    "root_volume(gib): a root volume larger than the image",
    "volumes(gib, ...): up to 12 further blank EBS volumes",
    "metadata_options(http_tokens='required', http_endpoint='disabled', "
    "http_put_response_hop_limit=2, instance_metadata_tags='enabled'): some of EC2's options",
    "tags(Name='web', ...): the instance's tags; its metadata shows them where options allow it",
    "faults(path, status=500, delay_s=0, times=None, method='PUT', after_s=0, until_s=None, "
    "cut='refused|closed|reset|silent', bytes_per_s=None, token_ttl_s=None): "
    "the metadata service gets a path wrong",
    "cold_boot: a machine booted for this test, not forked from a frozen one",
    "power_on: a machine given at its power-on, before it has booted",
    "nocloud: a NoCloud seed tells the machine who it is, and its metadata service is off",
    "new_instance: a machine with an instance id of its own",
)
"""The plugin's marks, as `pytest --markers` shows them."""
MARK_NAMES = frozenset(re.match(r"\w+", text)[0] for text in MARKS)  # type: ignore[index]
