"""The steps by which a bundle becomes an EBS image."""

from enum import StrEnum


class StepName(StrEnum):
    """The steps, in their order.

    The guide's, "Converting your Instance Store-Backed AMI to an Amazon EBS-Backed AMI", without
    its steps that launch an instance and bring keys there, and with three that it lacks: digest,
    test-source and test.
    """

    DOWNLOAD = "download"
    UNBUNDLE = "unbundle"
    IDENTIFY = "identify"
    VOLUME = "volume"
    COPY = "copy"
    PARTITIONS = "partitions"
    FSTAB = "fstab"
    DIGEST = "digest"
    TEST_SOURCE = "test-source"
    TEST = "test"
    SNAPSHOT = "snapshot"
    REGISTER = "register"
