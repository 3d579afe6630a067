"""A pytest plugin for imgforge/suite.py: each test's end on stderr, and all of them in a file.

Only `imgforge test` loads it (`-p imgforge.testing.results --results FILE`), beside the plugin
whose conclusions it passes on.
"""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol

import pytest

from imgforge.files import appearing
from imgforge.testing.built_in import RESULT_SIGN, functions_using
from imgforge.testing.outcome import Conclusion

_STDERR = os.dup(2)  # pytest captures it from now on
_TEXT_LIMIT = 100_000
_PATH = "imgforge_path"


class _Concluding(Protocol):
    def conclusions(self) -> dict[str, Conclusion]: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption("--results", type=Path, help="imgforge's own: where the results go (JSON)")
    parser.addoption("--expect", help="imgforge's own: what is expected of the image (JSON)")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to collect, in the run's main process."""
    if config.getoption("--results") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collector(config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a test's file: the name of one outside of pytest's rootdir does not tell it."""
    report = yield
    setattr(report, _PATH, str(item.path))
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Let one worker run all tests of the machine that reboots, stops and starts."""
    from xdist.scheduler import LoadScopeScheduling

    of_one_machine = functions_using("life")

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        # Not by xdist's own groups: 3.8 names them in a way that pytest 9.2 drops.
        def _split_scope(self, nodeid: str) -> str:
            return "life" if nodeid.rpartition("::")[2] in of_one_machine else nodeid

    return Scheduling(config, log)


class _Collector:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._not_collected: list[str] = []
        self._broke = False
        self._paths: dict[str, str] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._not_collected.append(f"{report.nodeid}: {report.longreprtext}"[:_TEXT_LIMIT])

    def pytest_internalerror(self) -> None:
        self._broke = True

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._paths.setdefault(report.nodeid, getattr(report, _PATH, ""))
        if report.when in {"setup", "call"}:
            return
        told = self._result(report.nodeid, self._conclusions()[report.nodeid])
        os.write(_STDERR, f"{RESULT_SIGN}{json.dumps({**told, 'failure': ''})}\n".encode())

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if self._broke or (exitstatus == pytest.ExitCode.INTERRUPTED and not self._not_collected):
            return
        tests = [self._result(nodeid, ended) for nodeid, ended in self._conclusions().items()]
        values = {"tests": tests, "not_collected": self._not_collected}
        with appearing(self._config.getoption("--results")) as new:
            new.write_text(json.dumps(values), encoding="utf-8")

    def _conclusions(self) -> dict[str, Conclusion]:
        plugin: _Concluding | None = self._config.pluginmanager.get_plugin("imgforge-run")
        return plugin.conclusions() if plugin is not None else {}

    def _result(self, nodeid: str, ended: Conclusion) -> dict[str, Any]:
        return {
            "nodeid": nodeid,
            "path": self._paths.get(nodeid, ""),
            "outcome": ended.outcome.value,
            "seconds": ended.seconds,
            "failure": ended.failure[:_TEXT_LIMIT],
            "reason": ended.reason,
        }
