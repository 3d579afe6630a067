"""The real AWS CLI, of the tests' environment."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AWS = Path(sys.executable).with_name("aws")
_LIMIT_S = 60


def asked_by_aws(variables: Mapping[str, str], *words: str) -> Any:
    """Return the JSON that `aws ec2 …` prints for whoever these variables configure."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "AWS_PAGER": "", **variables}
    ended = subprocess.run(
        [AWS, "ec2", *words, "--output", "json"],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=_LIMIT_S,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)
