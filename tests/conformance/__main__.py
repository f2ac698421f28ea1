"""Many models through every pass, preset and random pipelines, held against ONNX Runtime.

    python tests/conformance                                      the onnx package's backend tests, 1,000 random models
    python tests/conformance --seeds 0:20000 --no-backend         random models alone
    python tests/conformance --models ~/models --no-backend       model files, fed at random
    python tests/conformance --case random:17 node:test_add       cases by name, as the report gives them

What fails is made small and written to --regressions, which the tests replay from then on. The exit code is 1 where
anything was found.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from runner import cases  # noqa: E402
from runner.campaign import Campaign  # noqa: E402


def main() -> int:
    arguments = _arguments()
    names = _names(arguments)
    folder = None if arguments.no_shrink else arguments.regressions
    start = time.perf_counter()
    tell = partial(print, flush=True)
    campaign = Campaign(names, arguments.jobs, folder, tell, arguments.precision)
    summary = campaign.run()
    print(*summary.coverage(), sep="\n")
    print(f"{summary} in {time.perf_counter() - start:.0f} s ({_spelled(arguments)})")
    if arguments.json:
        arguments.json.write_text(json.dumps(summary.as_json(), indent=1) + "\n")
    return 1 if campaign.findings else 0


def _names(arguments: argparse.Namespace) -> list[str]:
    """The cases that are asked for, those that take longest first."""
    if arguments.case:
        return list(arguments.case)
    names = cases.file_names(arguments.models)
    if not arguments.no_backend:
        names += cases.backend_names()
    return names + cases.random_names(_seeds(arguments.seeds))


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last)) if last else range(int(first), int(first) + 1)


def _spelled(arguments: argparse.Namespace) -> str:
    return " ".join(arguments.case) if arguments.case else f"seeds {arguments.seeds}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0:1000", help="random models: FIRST:LAST (not included), or one seed")
    parser.add_argument("--models", nargs="*", type=Path, default=[], help="model files, and folders of them")
    parser.add_argument("--no-backend", action="store_true", help="leave the onnx package's backend tests out")
    parser.add_argument("--case", nargs="*", help="these cases and no others")
    parser.add_argument(
        "--precision", action="store_true", help="also passes that lower it, whose results have only to fit"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes; all cores by default")
    parser.add_argument("--json", type=Path, help="where to write the report")
    parser.add_argument("--no-shrink", action="store_true", help="only report, write no regressions")
    parser.add_argument("--regressions", type=Path, default=HERE / "regressions", help="where reduced cases go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
