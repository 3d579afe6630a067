"""A recipe's history is written by several processes at once."""

import subprocess
import sys
from pathlib import Path

from imgforge.report import read_history

_WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from imgforge.report import PastBoot, append_boot
for number in range(150):
    at = datetime.fromtimestamp(number, UTC)
    append_boot(Path(sys.argv[1]), PastBoot(at, True, float(number), layout=sys.argv[2]))
"""


def test_no_boot_of_several_writers_is_lost_or_torn(tmp_path: Path) -> None:
    path = tmp_path / "minimal.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, path, f"layout-{number}"])
        for number in range(4)
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0, 0]
    # 600 were written; what is cut is the oldest, so the last of each writer are in their order.
    boots = read_history(path)
    assert len(boots) == 300
    for number in range(4):
        own = [boot.login_s for boot in boots if boot.layout == f"layout-{number}"]
        assert own == [float(at) for at in range(150 - len(own), 150)]
