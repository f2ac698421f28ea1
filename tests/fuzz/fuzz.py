"""Fuzz what reads models and pipelines.

    python tests/fuzz/fuzz.py load --seconds 3600 --corpus /tmp/corpus
    python tests/fuzz/fuzz.py pipeline --seconds 600
    python tests/fuzz/fuzz.py load FILE...                what one input does

With atheris installed, coverage guides it, and findings are files crash-*, timeout-* and oom-* in --findings; without,
seeded damage is tried, --seed says where to begin, and the first finding ends it. Exit code 1 where anything was found.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
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
    with atheris.instrument_imports(include=["onnx_opt", "onnx_opt_passes", "onnx_opt_rules"]):
        from attack.targets import TARGETS
    for folder in (arguments.corpus, arguments.findings):
        folder.mkdir(parents=True, exist_ok=True)
    for name, data in _starts(arguments.target).items():
        (arguments.corpus / name).write_bytes(data)
    options = [
        f"-max_total_time={arguments.seconds}", f"-timeout={SECONDS_EACH}", f"-rss_limit_mb={MEMORY}",
        f"-max_len={MAX_BYTES}", f"-artifact_prefix={arguments.findings}/", f"-seed={arguments.seed}",
        "-print_final_stats=1", str(arguments.corpus),
    ]  # fmt: skip
    mutator = {} if arguments.target == "pipeline" else {"custom_mutator": _mutate}
    atheris.Setup([sys.argv[0], *options], TARGETS[arguments.target], **mutator)
    atheris.Fuzz()
    return 0


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
    end, seed = time.monotonic() + arguments.seconds, arguments.seed
    while time.monotonic() < end:
        data = Random(seed).choice(starts)
        data = damage(data, Random(seed))
        faulthandler.dump_traceback_later(SECONDS_EACH, exit=True)
        try:
            TARGETS[arguments.target](data)
        except Exception:
            arguments.findings.mkdir(parents=True, exist_ok=True)
            (arguments.findings / f"seed-{seed}").write_bytes(data)
            print(f"seed {seed}: see {arguments.findings}/seed-{seed}", file=sys.stderr)
            if not arguments.keep_going:
                raise
        faulthandler.cancel_dump_traceback_later()
        seed += 1
    print(f"seeds {arguments.seed} to {seed - 1}: nothing")
    return 0


def _starts(target: str) -> dict[str, bytes]:
    from attack import seeds

    if target == "pipeline":
        return {f"pipeline-{index}": text.encode() for index, text in enumerate(seeds.PIPELINES)}
    return seeds.models()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("target", choices=["load", "pipeline"])
    parser.add_argument("files", nargs="*", type=Path, help="inputs to run instead")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=Path("/tmp/onnx-opt-fuzz/corpus"), help="what atheris found out")
    parser.add_argument("--findings", type=Path, default=Path("/tmp/onnx-opt-fuzz/findings"))
    parser.add_argument("--keep-going", action="store_true", help="without atheris: do not stop at the first finding")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
