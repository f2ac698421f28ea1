"""Random models through every pass, preset and random pipelines.

    python tests/conformance/fuzz.py --seeds 0:2000 --jobs 2 --json report.json

Each seed gives one model. What fails is made small and written to --regressions, which the tests replay from then on.
The exit code is 1 where anything was found.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from runner.campaign import Campaign  # noqa: E402


def main() -> int:
    arguments = _arguments()
    first, _, last = arguments.seeds.partition(":")
    seeds = range(int(first), int(last)) if last else range(int(first), int(first) + 1)
    folder = None if arguments.no_shrink else arguments.regressions
    start = time.perf_counter()
    campaign = Campaign(seeds, arguments.jobs, folder, tell=lambda text: print(text, flush=True))
    campaign.run()
    summary = campaign.summary()
    print(f"{summary} in {time.perf_counter() - start:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(campaign.as_json(), indent=1) + "\n")
    return 1 if campaign.findings else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", default="0:1000", help="FIRST:LAST (not included), or one seed")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--json", type=Path, help="where to write the report")
    parser.add_argument("--no-shrink", action="store_true", help="only report, write no regressions")
    parser.add_argument("--regressions", type=Path, default=HERE / "regressions", help="where reduced cases go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
