"""Load a model and save it again, with nothing between: `loadsave.py LIBRARY MODEL OUT REPEAT` prints JSON.

Timed inside the process, imports and the reading of the file into the page cache left out: seconds of the fastest
repetition, garbage included. `protobuf` is the floor: ParseFromString and SerializeToString of the same bytes.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

RoundTrip = Callable[[Path, Path], None]


def by_load_and_save(module: str) -> RoundTrip:
    library: Any = import_module(module)
    return lambda model, out: library.save(library.load(model), out)


def by_protobuf() -> RoundTrip:
    import onnx

    def round_trip(model: Path, out: Path) -> None:
        proto = onnx.ModelProto()
        proto.ParseFromString(model.read_bytes())
        out.write_bytes(proto.SerializeToString())

    return round_trip


LIBRARIES: dict[str, Callable[[], RoundTrip]] = {
    "onnx-opt": lambda: by_load_and_save("onnx_opt"),
    "onnx-ir": lambda: by_load_and_save("onnx_ir"),
    "protobuf": by_protobuf,
}


def fastest(round_trip: RoundTrip, model: Path, out: Path, repeat: int) -> dict[str, float]:
    """CPU and wall seconds of the repetition with the least CPU time."""
    results = []
    for _ in range(repeat):
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        round_trip(model, out)
        results.append({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall})
    return min(results, key=lambda result: result["cpu"])


if __name__ == "__main__":
    library, source, target, count = sys.argv[1:]
    print(json.dumps(fastest(LIBRARIES[library](), Path(source), Path(target), int(count))))
