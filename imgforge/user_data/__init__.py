"""User data: its parts put together, taken apart again, and what a guest does with each."""

from imgforge.user_data.examination import Examination, examine_user_data
from imgforge.user_data.finding import Finding, Weight
from imgforge.user_data.kind import KINDS, Frequency, Kind, Stage
from imgforge.user_data.message import Form, make_user_data
from imgforge.user_data.part import Part
from imgforge.user_data.source import LARGEST_FILE_BYTES, read_part, read_source
from imgforge.user_data.yaml_text import NotYamlError, compose, pairs

__all__ = [
    "KINDS",
    "LARGEST_FILE_BYTES",
    "Examination",
    "Finding",
    "Form",
    "Frequency",
    "Kind",
    "NotYamlError",
    "Part",
    "Stage",
    "Weight",
    "compose",
    "examine_user_data",
    "make_user_data",
    "pairs",
    "read_part",
    "read_source",
]
