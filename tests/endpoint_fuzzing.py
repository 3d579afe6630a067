"""Requests of botocore's models for each service of `imgforge serve`, and bent ones."""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import requests
from botocore.awsrequest import AWSRequest, prepare_request_dict
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.serialize import create_serializer
from hypothesis import strategies as st

from tests.ec2_shapes import Words, values_of
from tests.serving import ACCOUNT, Serving, make_snapshot, register

_EC2 = re.compile("Image|Snapshot|Volume|Tags|Regions|Zones|Ebs|ImportTask|RecycleBin")
_IAM = re.compile("User|Role|SigningCertificate|AccessKey|Group|Policy|Alias|Profile")
_LIMIT_S = 60
_PROTOCOL = {"ec2": "ec2", "ebs": "rest-json", "rbin": "rest-json", "kms": "json"}
# What takes away what the other requests name, or takes seconds of the processor's (RSA keys).
_SPARED = {"DeleteVolume", "DeleteSnapshot", "DeregisterImage", "CreateKey", "GenerateDataKeyPair"}


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of a service, as it goes over the wire."""

    service: str
    operation: str
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Fuzzed:
    """An endpoint that is asked, with the words that its things go by."""

    def __init__(self, serving: Serving) -> None:
        self._url = serving.url
        self._session = requests.Session()
        ec2, kms = serving.client(), serving.client("kms")
        snapshot_id = make_snapshot(ec2)
        image_id = register(ec2, "the image", snapshot_id)
        volume_id = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        pending = serving.client("ebs").start_snapshot(VolumeSize=1)["SnapshotId"]
        key = kms.create_key()["KeyMetadata"]["Arn"]
        period = {"RetentionPeriodValue": 1, "RetentionPeriodUnit": "DAYS"}
        rule = serving.client("rbin").create_rule(
            RetentionPeriod=period, ResourceType="EBS_SNAPSHOT"
        )
        serving.client("iam").create_user(UserName="somebody")
        ids = (image_id, snapshot_id, pending, volume_id, "aki-5c21674b")
        words: Words = {
            "ImageId": (image_id,),
            "ImageIds": (image_id,),
            "SnapshotId": (snapshot_id, pending),
            "SnapshotIds": (snapshot_id, pending),
            "VolumeId": (volume_id,),
            "VolumeIds": (volume_id,),
            "Resources": ids,
            "Region": ("us-east-1", "us-west-2"),
            "AvailabilityZone": ("us-east-1a",),
            "DeviceName": ("/dev/sda1", "/dev/xvda", "/dev/sdb"),
            "KmsKeyId": (key, "alias/aws/ebs", "alias/none"),
            "KeyId": (key, key.rpartition("/")[2], "alias/aws/ebs"),
            "KmsKeyArn": (key,),
            "Identifier": (rule["Identifier"],),
            "ResourceArn": (rule["RuleArn"],),
            "UserName": ("somebody", "nobody"),
            "S3Bucket": ("bucket",),
            "Url": ("s3://bucket/key", "http://127.0.0.1/x"),
            "PolicyDocument": ("{}", '{"Version": "2012-10-17", "Statement": []}', "no json"),
            "Values": (*ids, "*", "?", "available", r"\*"),
            "": ("a", "1", "self", "t", image_id),
        }
        self.requests = _requests_of(words)

    def send(self, sent: Sent) -> requests.Response:
        """Send a request, signed by nobody's secret; raise AssertionError for a server's error."""
        now = datetime.now(UTC)
        scope = f"{ACCOUNT}/{now:%Y%m%d}/us-east-1/{sent.service}/aws4_request"
        signed = {
            "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
            "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host,"
            f" Signature={'0' * 64}",
        }
        request = requests.Request(
            sent.method, "http://x/", headers={**sent.headers, **signed}, data=sent.body
        )
        ready = self._session.prepare_request(request)
        ready.url = self._url + sent.path
        answer = self._session.send(ready, timeout=_LIMIT_S)
        assert answer.status_code < 500 or answer.status_code == 501, (sent, answer.text[:500])
        # Hypothesis reads this file, and sends the words that stand in it: this one is not whole.
        assert "Trace" + "back (most" not in answer.text
        return answer


def models() -> dict[str, list[OperationModel]]:
    """Return the operations that are asked for, by their service."""
    found = {}
    for service in ("ec2", "ebs", "rbin", "kms", "iam", "sts"):
        model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
        names = [
            name
            for name in model.operation_names
            if {"ec2": _EC2, "iam": _IAM}.get(service, re.compile("")).search(name)
            and name not in _SPARED
        ]
        found[service] = [model.operation_model(name) for name in names]
    return found


def _requests_of(words: Words) -> st.SearchStrategy[Sent]:
    """Return a strategy for requests: by the models, some of them bent."""
    operations = models()

    @functools.cache  # a strategy takes longer to make than to draw from
    def of_operation(service: str, number: int) -> st.SearchStrategy[Sent]:
        operation = operations[service][number]
        return _values(operation, words).map(functools.partial(_written, service, operation))

    whole = st.sampled_from(sorted(operations)).flatmap(
        lambda service: st.integers(0, len(operations[service]) - 1).flatmap(
            lambda number: of_operation(service, number)
        )
    )
    return st.one_of(whole, whole, whole, whole.flatmap(_bent))


def _values(operation: OperationModel, words: Words) -> st.SearchStrategy[dict[str, Any]]:
    shape = operation.input_shape
    if shape is None:
        return st.just({})
    found: st.SearchStrategy[dict[str, Any]] = values_of(shape, words=words)
    return found


def _written(service: str, operation: OperationModel, values: dict[str, Any]) -> Sent:
    serializer = create_serializer(_PROTOCOL.get(service, "query"), include_validation=False)
    made = serializer.serialize_to_request(values, operation)
    made.setdefault("context", {})
    prepare_request_dict(made, endpoint_url="http://x")
    request = AWSRequest(
        method=made["method"], url=made["url"], headers=made["headers"], data=made["body"]
    ).prepare()
    body = request.body or b""
    return Sent(
        service,
        operation.name,
        request.method,
        request.url.removeprefix("http://x") or "/",
        {
            # What a header cannot have, no client sends.
            name: _text(value).encode().decode("latin-1").strip()
            for name, value in request.headers.items()
            if name.lower() not in {"content-length", "host"}
        },
        body.encode() if isinstance(body, str) else bytes(body),
    )


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _bent(sent: Sent) -> st.SearchStrategy[Sent]:
    """Return requests that are like one, and that no SDK writes."""
    size = len(sent.body)
    cut = st.integers(0, size).map(lambda end: replace(sent, body=sent.body[:end]))
    spliced = st.tuples(st.integers(0, size), st.binary(max_size=8)).map(
        lambda at: replace(sent, body=sent.body[: at[0]] + at[1] + sent.body[at[0] :])
    )
    doubled = st.just(replace(sent, body=sent.body + b"&" + sent.body))
    methods = st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"])
    turned = methods.map(lambda method: replace(sent, method=method))
    paths = st.text("/%.a?=&{}é", max_size=12).map(lambda text: replace(sent, path="/" + text))
    nested = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=8,
    )
    jsons = nested.map(lambda value: replace(sent, body=json.dumps(value).encode()))
    services = st.sampled_from(["ec2", "ebs", "rbin", "kms", "iam", "sts", "s3", "sqs"])
    elsewhere = services.map(lambda service: replace(sent, service=service))
    return st.one_of(cut, spliced, doubled, turned, paths, jsons, elsewhere)
