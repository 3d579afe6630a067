"""Programs and libraries that people use on EC2, against the metadata service.

Those that know no other address than 169.254.169.254 find it there, in a network namespace.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.utils import InstanceMetadataFetcher, InstanceMetadataRegionFetcher

from imgforge.metadata import HttpTokens
from tests.metadata_instances import FULL, PLAIN
from tests.metadata_serving import served

NAMESPACE = Path(__file__).with_name("metadata_namespace.py")
EITHER = pytest.mark.parametrize("tokens", [HttpTokens.OPTIONAL, HttpTokens.REQUIRED])
# The JavaScript SDK's two ways to the service, with their versions.
NPM_PACKAGES = ("@aws-sdk/credential-provider-imds@3.374.0", "@aws-sdk/ec2-metadata-service@3")


@dataclass(frozen=True, slots=True)
class Talk:
    """What a program said, and what it asked."""

    stdout: str
    requests: list[dict[str, Any]]

    @property
    def used_tokens(self) -> bool:
        return all(request["token"] for request in self.requests)


def beside_the_service(
    *words: str | Path, tokens: HttpTokens, folder: Path, status: int = 0
) -> Talk:
    """Run a program where 169.254.169.254 answers for FULL."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare (util-linux) is missing")
    probe = subprocess.run(["unshare", "-Urn", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this host forbids unprivileged user namespaces")
    record = folder / "record.json"
    unset = {"AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_DISABLED", "http_proxy"}
    done = subprocess.run(
        ["unshare", "-Urn", sys.executable, NAMESPACE, tokens.value, record, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={name: text for name, text in os.environ.items() if name.lower() not in unset},
    )
    assert done.returncode == status, done.stderr
    return Talk(done.stdout, json.loads(record.read_text(encoding="utf-8")))


@EITHER
def test_botocore_finds_the_roles_credentials(
    tokens: HttpTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    instance = replace(FULL, options=replace(FULL.options, http_tokens=tokens))
    with served(instance) as at:
        config = {"ec2_metadata_service_endpoint": at.url}
        found = InstanceMetadataFetcher(config=config).retrieve_iam_role_credentials()
    assert found["role_name"] == "web-role"
    assert found["token"] == "role's"
    assert {"access_key", "secret_key", "expiry_time"} <= set(found)
    assert [request.method for request in at.requests] == ["PUT", "GET", "GET"]
    assert all(request.token for request in at.requests)


def test_botocore_finds_no_credentials_without_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    with served(PLAIN) as at:
        config = {"ec2_metadata_service_endpoint": at.url}
        assert InstanceMetadataFetcher(config=config).retrieve_iam_role_credentials() == {}
    assert at.requests[-1].status == 404


@EITHER
def test_botocore_finds_the_region(tokens: HttpTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    instance = replace(FULL, options=replace(FULL.options, http_tokens=tokens))
    with served(instance) as at:
        fetcher = InstanceMetadataRegionFetcher(config={"ec2_metadata_service_endpoint": at.url})
        assert fetcher.retrieve_region() == "eu-central-1"


@EITHER
def test_a_session_of_botocore_finds_all_on_the_real_address(
    tokens: HttpTokens, tmp_path: Path
) -> None:
    script = (
        "import botocore.session as s\n"
        "session = s.get_session(); keys = session.get_credentials()\n"
        "print(keys.method, keys.get_frozen_credentials().token)\n"
    )
    talk = beside_the_service(sys.executable, "-c", script, tokens=tokens, folder=tmp_path)
    assert talk.stdout.split(maxsplit=1) == ["iam-role", "role's\n"]
    assert talk.used_tokens


EC2_METADATA = """
import dataclasses, json
from ec2_metadata import ec2_metadata as m
networks = list(m.network_interfaces.values())
print(json.dumps({
    "account": m.account_id, "image": m.ami_id, "zone": m.availability_zone_id,
    "role": m.iam_info["InstanceProfileArn"],
    "tags": dict(m.tags), "keys": {name: key.openssh_key for name, key in m.public_keys.items()},
    "user_data": m.user_data.hex(), "spot": m.spot_instance_action.action,
    "state": m.autoscaling_target_lifecycle_state, "life_cycle": m.instance_life_cycle,
    "prefixes": [n.ipv6_prefix for n in networks], "ipv6s": [n.ipv6s for n in networks],
    "associations": [n.ipv4_associations for n in networks], "region": m.region,
    "blocks": [n.vpc_ipv4_cidr_blocks for n in networks], "domain": m.domain,
    "groups": m.security_groups, "name": m.public_hostname,
}))
"""


@EITHER
def test_ec2_metadata_reads_everything_it_knows(tokens: HttpTokens, tmp_path: Path) -> None:
    talk = beside_the_service(sys.executable, "-c", EC2_METADATA, tokens=tokens, folder=tmp_path)
    found = json.loads(talk.stdout)
    assert found == {
        "account": "123456789012",
        "image": FULL.image_id,
        "zone": "euc1-az2",
        "role": "arn:aws:iam::123456789012:instance-profile/web-profile",
        "tags": FULL.tags,
        "keys": {name: line + "\n" for name, line in FULL.public_keys.items()},
        "user_data": b"#!/bin/sh\necho \xff\n".hex(),
        "spot": "terminate",
        "state": "InService",
        "life_cycle": "spot",
        "prefixes": [[], ["2001:db8:1::/80"]],
        "ipv6s": [["2001:db8::7", "2001:db8::8"], ["2001:db8:1::5"]],
        "associations": [{"198.51.100.7": [FULL.local_ipv4]}, {"198.51.100.8": ["10.0.0.5"]}],
        "region": "eu-central-1",
        "blocks": [["168.0.0.0/5"], ["10.0.0.0/16", "10.1.0.0/16"]],
        "domain": "amazonaws.com",
        "groups": ["web", "ssh"],
        "name": "ec2-198-51-100-7.eu-central-1.compute.amazonaws.com",
    }
    assert talk.used_tokens


# As rc.local has it in EC2's guide on shared AMIs, with the two paths that a test may write.
RC_LOCAL = """
if [ ! -d "$HOME/.ssh" ] ; then
        mkdir -p "$HOME/.ssh"
        chmod 700 "$HOME/.ssh"
fi
curl http://169.254.169.254/latest/meta-data/public-keys/0/openssh-key > "$HOME/my-key"
if [ $? -eq 0 ] ; then
        cat "$HOME/my-key" >> "$HOME/.ssh/authorized_keys"
        chmod 700 "$HOME/.ssh/authorized_keys"
        rm "$HOME/my-key"
fi
"""
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
IMDSV2 = """
TOKEN=`curl -X PUT "http://169.254.169.254/latest/api/token" \
 -H "X-aws-ec2-metadata-token-ttl-seconds: 21600"` \
&& curl -H "X-aws-ec2-metadata-token: $TOKEN" http://169.254.169.254/latest/meta-data/
"""


@pytest.fixture
def curl() -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")


@pytest.mark.usefixtures("curl")
def test_curl_fetches_the_key_as_in_the_guide(tmp_path: Path) -> None:
    words = ("env", f"HOME={tmp_path}", "sh", "-c", RC_LOCAL)
    talk = beside_the_service(*words, tokens=HttpTokens.OPTIONAL, folder=tmp_path)
    keys = (tmp_path / ".ssh" / "authorized_keys").read_text(encoding="utf-8")
    assert keys == "ssh-ed25519 AAAA0\n"
    (request,) = talk.requests
    assert (request["token"], request["user_agent"][:5]) == (False, "curl/")


@pytest.mark.usefixtures("curl")
@EITHER
def test_curl_lists_the_categories_by_imdsv2_as_in_the_documentation(
    tokens: HttpTokens, tmp_path: Path
) -> None:
    talk = beside_the_service("sh", "-c", IMDSV2, tokens=tokens, folder=tmp_path)
    assert talk.stdout.startswith("ami-id\nami-launch-index\nami-manifest-path\n")
    assert talk.used_tokens


@pytest.mark.usefixtures("curl")
def test_curl_is_told_401_without_a_token(tmp_path: Path) -> None:
    words = ("curl", "-f", "http://169.254.169.254/latest/meta-data/ami-id")
    talk = beside_the_service(*words, tokens=HttpTokens.REQUIRED, folder=tmp_path, status=22)
    assert [request["status"] for request in talk.requests] == [401]
    assert talk.stdout == ""


JAVASCRIPT = """
import {fromInstanceMetadata} from "@aws-sdk/credential-provider-imds";
import {MetadataService} from "@aws-sdk/ec2-metadata-service";
const keys = await fromInstanceMetadata({maxRetries: 0})();
const service = new MetadataService({});
const id = await service.request("/latest/meta-data/instance-id", {});
const document = await service.request("/latest/dynamic/instance-identity/document", {});
console.log(JSON.stringify({token: keys.sessionToken, id, region: JSON.parse(document).region}));
"""


@pytest.fixture(scope="module")
def npm_folder() -> Path:
    """Return a folder of the user's cache with the JavaScript SDK's clients, made once."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: the JavaScript SDK's metadata client")
    name = hashlib.sha256("\n".join(NPM_PACKAGES).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "imgforge-tests" / f"npm-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            words = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *NPM_PACKAGES]
            done = subprocess.run(
                [*words, "--prefix", folder],
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            if done.returncode:
                pytest.skip("npm could not fetch the JavaScript SDK's metadata client")
            (folder / "complete").touch()
    return folder


@EITHER
def test_the_javascript_sdk_finds_credentials_and_categories(
    tokens: HttpTokens, npm_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(npm_folder / "node_modules")
    script = tmp_path / "client.mjs"
    script.write_text(JAVASCRIPT, encoding="utf-8")
    talk = beside_the_service("node", script, tokens=tokens, folder=tmp_path)
    found = json.loads(talk.stdout)
    assert found == {"token": "role's", "id": FULL.instance_id, "region": "eu-central-1"}
    assert talk.used_tokens
