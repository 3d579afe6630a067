"""EC2's query protocol: what botocore writes is read, what is written botocore reads."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgforge.catalog import RefusedError
from imgforge.ec2.local.ec2_answer import write_xml, write_xml_error
from imgforge.ec2.local.ec2_query import check_version, parse_query, read_fields
from imgforge.ec2.local.operations import find_operation, service_model
from tests.ec2_shapes import TEXT, values_of

OPERATIONS = sorted(service_model("ec2").operation_names)
SLOW_STRATEGIES = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)


def parse(name: str, text: str) -> dict[str, Any]:
    return parse_query(read_fields(text.encode()), find_operation("ec2", name))


def without_nothing(value: Any) -> Any:
    """Return a value without what the protocol cannot say: structures and lists of nothing."""
    if isinstance(value, dict):
        kept = {name: without_nothing(inner) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner not in ({}, [], None)}
    if isinstance(value, list):
        return [inner for inner in map(without_nothing, value) if inner not in ({}, [], None)]
    return value


@SLOW_STRATEGIES
@given(st.data())
def test_what_botocore_writes_is_read(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(OPERATIONS))
    operation = find_operation("ec2", name)
    assert operation is not None
    if operation.input_shape is None:
        return
    wanted = without_nothing(data.draw(values_of(operation.input_shape)))
    written = create_serializer("ec2", include_validation=False).serialize_to_request(
        wanted, operation
    )
    found = _parsed_or_code(name, urlencode(written["body"]).encode())
    # What says nothing was left out above, also where something is needed.
    assert found == "MissingParameter" or without_nothing(found) == wanted


def _parsed_or_code(name: str, body: bytes) -> dict[str, Any] | str:
    try:
        return parse_query(read_fields(body), find_operation("ec2", name))
    except RefusedError as error:
        return error.code


@SLOW_STRATEGIES
@given(st.data())
def test_what_is_written_botocore_reads(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(OPERATIONS))
    operation = find_operation("ec2", name)
    assert operation is not None
    if operation.output_shape is None:
        return
    wanted = data.draw(values_of(operation.output_shape))
    body = write_xml(operation, _iso(wanted), request_id="r")
    response = {"status_code": 200, "headers": {}, "body": body, "context": {}}
    found = create_parser("ec2").parse(response, operation.output_shape)
    found.pop("ResponseMetadata")
    assert without_nothing(found) == without_nothing(wanted)


def _iso(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {name: _iso(inner) for name, inner in value.items()}
    return [_iso(inner) for inner in value] if isinstance(value, list) else value


@given(TEXT, TEXT)
def test_a_refusal_is_read_by_botocore(code: str, message: str) -> None:
    body = write_xml_error(code, message, request_id="r")
    response = {"status_code": 400, "headers": {}, "body": body, "context": {}}
    found = create_parser("ec2").parse(response, None)["Error"]
    assert (found["Code"] or "", found["Message"] or "") == (code, message)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Foo=1", "UnknownParameter"),
        ("Filter.1.Foo=1", "UnknownParameter"),
        ("ImageId=ami-1", "InvalidParameterValue"),
        ("ImageId.x=ami-1", "UnknownParameter"),
        ("ImageId.0=ami-1", "UnknownParameter"),
        ("ImageId.1.2=ami-1", "UnknownParameter"),
        ("ImageId..1=ami-1", "UnknownParameter"),
        ("ImageId.1=a&ImageId.1=b", "InvalidQueryParameter"),
        ("ImageId.1=a&ImageId=b", "InvalidQueryParameter"),
        ("ImageId=b&ImageId.1=a", "InvalidQueryParameter"),
        ("MaxResults=x", "InvalidParameterValue"),
        ("MaxResults=", "InvalidParameterValue"),
        ("MaxResults=1e3", "InvalidParameterValue"),
        ("MaxResults=99999999999", "InvalidParameterValue"),
        ("MaxResults=٣", "MalformedQueryString"),
        ("DryRun=yes", "InvalidParameterValue"),
        ("IncludeDeprecated=1", "InvalidParameterValue"),
        ("NextToken=%00", "InvalidParameterValue"),
        ("NextToken=%ff", "MalformedQueryString"),
        ("NextToken", "MalformedQueryString"),
        ("&".join(f"ImageId.{n}=a" for n in range(1, 10_002)), "MalformedQueryString"),
        (".".join("a" * 5000) + "=1", "UnknownParameter"),
    ],
)
def test_what_is_no_request_is_refused(text: str, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse("DescribeImages", text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("RegisterImage", "Architecture=vax&Name=abc", "InvalidParameterValue"),
        ("RegisterImage", "Architecture=i386", "MissingParameter"),
        ("DeregisterImage", "", "MissingParameter"),
        ("EnableImageDeprecation", "ImageId=a&DeprecateAt=soon", "InvalidParameterValue"),
    ],
)
def test_a_value_that_the_model_has_not_is_refused(name: str, text: str, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(name, text)
    assert caught.value.code == code


def test_items_of_a_list_come_by_their_numbers() -> None:
    text = "&".join(f"ImageId.{number}={number}" for number in (10, 2, 1))
    assert parse("DescribeImages", text) == {"ImageIds": ["1", "2", "10"]}


def test_another_version_of_the_api_is_refused() -> None:
    check_version({"Version": "2016-11-15"})
    with pytest.raises(RefusedError, match="1999-01-01"):
        check_version({"Version": "1999-01-01"})
    for fields in ({}, {"Version": ""}):
        with pytest.raises(RefusedError) as refused:
            check_version(fields)
        assert refused.value.code == "MissingParameter"


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(OPERATIONS))
def test_garbage_is_refused_in_ec2s_words(body: bytes, name: str) -> None:
    assert _parsed_or_code(name, body) is not None
