"""Fuzz what reads models and pipelines.

    python tests/fuzz/fuzz.py load --seconds 3600 --corpus /tmp/corpus
    python tests/fuzz/fuzz.py optimize --seconds 3600     the same with all passes of -O3
    python tests/fuzz/fuzz.py pipeline --seconds 600
    python tests/fuzz/fuzz.py load FILE...                what one input does

With atheris installed, coverage guides it; without, seeded damage is tried, and --seed says where to begin. An input
that raises what it should not is written to --findings, once for each place that raises, and the search goes on; one
that takes too long, or too much memory, ends it. Exit code 1 where anything was found.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

try:
    import atheris
except ImportError:
    atheris = None

MAX_BYTES = 1 << 16
SECONDS_EACH = 20
MEMORY = 3000
"""MiB: more is a finding."""


def main() -> int:
    arguments = _arguments()
    if arguments.files:
        return _replay(arguments)
    return _guided(arguments) if atheris is not None else _seeded(arguments)


def _replay(arguments: argparse.Namespace) -> int:
    from attack.targets import TARGETS

    for file in arguments.files:
        TARGETS[arguments.target](file.read_bytes())
        print(f"{file}: nothing")
    return 0


def _guided(arguments: argparse.Namespace) -> int:
    """libFuzzer ends its process by itself, so it gets one of its own."""
    for folder in (arguments.corpus, arguments.findings):
        folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if not child:
        _fuzz(arguments)
    status = os.waitpid(child, 0)[1]
    return 1 if status or any(arguments.findings.iterdir()) else 0


def _fuzz(arguments: argparse.Namespace) -> None:
    with atheris.instrument_imports(include=["onnx_opt", "onnx_opt_passes", "onnx_opt_rules"]):
        from attack.targets import TARGETS
    for name, data in _starts(arguments.target).items():
        (arguments.corpus / name).write_bytes(data)
    options = [
        f"-max_total_time={arguments.seconds}", f"-timeout={SECONDS_EACH}", f"-rss_limit_mb={MEMORY}",
        f"-max_len={MAX_BYTES}", f"-artifact_prefix={arguments.findings}/", f"-seed={arguments.seed}",
        "-print_final_stats=1", str(arguments.corpus),
    ]  # fmt: skip
    mutator = {} if arguments.target == "pipeline" else {"custom_mutator": _mutate}
    target = Recorder(TARGETS[arguments.target], arguments.findings)
    atheris.Setup([sys.argv[0], *options], target, **mutator)
    atheris.Fuzz()


class Recorder:
    """Runs a target and keeps the first input for each place that raises."""

    def __init__(self, target: Callable[[bytes], None], findings: Path) -> None:
        self.target = target
        self.findings = findings
        self.places: set[str] = set()

    def __call__(self, data: bytes) -> None:
        try:
            self.target(data)
        except Exception as error:
            cause = error.__cause__ or error
            frame = traceback.extract_tb(cause.__traceback__)[-1]
            place = f"{type(cause).__name__}-{Path(frame.filename).stem}-{frame.lineno}"
            if place not in self.places:
                self.places.add(place)
                self.findings.mkdir(parents=True, exist_ok=True)
                (self.findings / place).write_bytes(data)
                print(f"found {self.findings / place}: {cause}", file=sys.stderr, flush=True)


def _mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time a mutation that knows what a model is."""
    from attack import mutate

    random = Random(seed)
    if random.random() < 0.3:
        return bytes(atheris.Mutate(data, max_size))
    return mutate.model(data, random)[:max_size]


def _seeded(arguments: argparse.Namespace) -> int:
    from attack import mutate
    from attack.targets import TARGETS

    damage = mutate.raw if arguments.target == "pipeline" else mutate.model
    starts = list(_starts(arguments.target).values())
    target = Recorder(TARGETS[arguments.target], arguments.findings)
    end, seed = time.monotonic() + arguments.seconds, arguments.seed
    while time.monotonic() < end:
        random = Random(seed)
        faulthandler.dump_traceback_later(SECONDS_EACH, exit=True)
        target(damage(random.choice(starts), random))
        seed += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"seeds {arguments.seed} to {seed - 1}: {len(target.places)} findings")
    return 1 if target.places else 0


def _starts(target: str) -> dict[str, bytes]:
    from attack import seeds

    if target == "pipeline":
        return {f"pipeline-{index}": text.encode() for index, text in enumerate(seeds.PIPELINES)}
    return seeds.models()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("target", choices=["load", "optimize", "pipeline"])
    parser.add_argument("files", nargs="*", type=Path, help="inputs to run instead")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=Path("/tmp/onnx-opt-fuzz/corpus"), help="what atheris found out")
    parser.add_argument("--findings", type=Path, default=Path("/tmp/onnx-opt-fuzz/findings"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
