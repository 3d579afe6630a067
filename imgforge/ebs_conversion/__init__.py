"""An instance-store bundle becomes an EBS image, by the guide's steps."""

from imgforge.conversion_step import StepName
from imgforge.ebs_conversion.chain import CHAIN_FILE, read_chain
from imgforge.ebs_conversion.run import Conversion, PlannedStep, StepState, convert_to_ebs, plan
from imgforge.ebs_conversion.wish import ConversionWish, EbsOptions, Repeat

__all__ = [
    "CHAIN_FILE",
    "Conversion",
    "ConversionWish",
    "EbsOptions",
    "PlannedStep",
    "Repeat",
    "StepName",
    "StepState",
    "convert_to_ebs",
    "plan",
    "read_chain",
]
