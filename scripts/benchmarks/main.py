"""The command line of scripts/bench."""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.boots import measure_harness, measure_pv, measure_test_boot
from benchmarks.build import measure_build
from benchmarks.bundle import measure_bundle
from benchmarks.conversion import measure_conversion
from benchmarks.describe import measure_describe
from benchmarks.figure import Figure
from benchmarks.forks import build_disk, measure_fork, measure_forty, measure_pv_fork
from benchmarks.metadata import measure_metadata
from benchmarks.metadata_crawl import measure_crawl
from benchmarks.snapshots import measure_snapshots
from benchmarks.sparse import measure_sparse
from imgforge.progress import LOG

_RECIPES = Path(__file__).parents[2] / "guest" / "recipes"
_MINIMAL, _DEBIAN = _RECIPES / "minimal.toml", _RECIPES / "debian.toml"

Work = Callable[[Path, int], Iterator[Figure]]
_FIGURES: dict[str, Work] = {
    "build": lambda scratch, runs: measure_build(_DEBIAN, scratch=scratch, runs=runs),
    "build-minimal": lambda scratch, runs: measure_build(_MINIMAL, scratch=scratch, runs=runs),
    "bundle": lambda scratch, runs: measure_bundle(scratch=scratch, runs=runs),
    "conversion": lambda scratch, runs: measure_conversion(scratch=scratch, runs=runs),
    "describe": lambda scratch, runs: measure_describe(scratch=scratch, runs=runs),
    "harness": lambda scratch, runs: measure_harness(_MINIMAL, scratch=scratch, runs=runs),
    "test-boot": lambda scratch, runs: measure_test_boot(_MINIMAL, scratch=scratch, runs=runs),
    "fork": lambda scratch, runs: measure_fork(_DEBIAN, times=100, scratch=scratch, runs=runs),
    "fork-minimal": lambda scratch, runs: measure_fork(
        _MINIMAL, times=15, scratch=scratch, runs=runs
    ),
    "forty": lambda scratch, runs: measure_forty(_DEBIAN, scratch=scratch, runs=runs),
    "metadata": lambda _, runs: measure_metadata(runs=runs),
    "metadata-crawl": lambda scratch, runs: measure_crawl(
        build_disk(_DEBIAN, scratch), scratch=scratch, runs=runs
    ),
    "pv": lambda scratch, runs: measure_pv(_MINIMAL, scratch=scratch, runs=runs),
    "pv-fork": lambda scratch, runs: measure_pv_fork(_MINIMAL, scratch=scratch, runs=runs),
    "snapshots": lambda scratch, runs: measure_snapshots(scratch=scratch, runs=runs),
    "sparse": lambda scratch, runs: measure_sparse(scratch=scratch, runs=runs),
}


def main() -> int:
    """Measure what is named, or all; return 1 where a limit is missed."""
    LOG.addHandler(logging.NullHandler())
    wish = _parse()
    figures = []
    for name in wish.names or _FIGURES:
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-", dir=wish.scratch) as scratch:
            for figure in _FIGURES[name](Path(scratch), wish.runs):
                figures.append(figure)
                print(figure.line(), file=sys.stderr if wish.json else sys.stdout, flush=True)
    if wish.json:
        print(json.dumps([figure.as_json() for figure in figures], indent=2))
    return 0 if all(figure.is_within for figure in figures) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="imgforge's speed, as ratios to bare programs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_FIGURES)}")
    parser.add_argument("--runs", type=int, default=5, help="medians of so many (default: 5)")
    parser.add_argument("--scratch", type=Path, help="where disks are made; some 5 GB")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    wish = parser.parse_args()
    for name in wish.names:
        if name not in _FIGURES:
            parser.error(f"{name} is none of {', '.join(_FIGURES)}")
    return wish
