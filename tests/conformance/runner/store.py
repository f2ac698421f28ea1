"""Regression cases as files: ONNX text with a head of comments, or a model with the same in its metadata.

# way: fold,cleanup
# found: different: feed 0: y: 1 of 4 elements differ
# feed: x float32 [2, 2] 1.0 nan -0.0 2.5
<ir_version: 8, opset_import: ["" : 17]>
g (float[2, 2] x) => (float[2, 2] y) { y = Relu(x) }
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx.printer
from generator.draw import dtype_of

from .judge import Finding
from .protos import Feed
from .shrink import Small
from .ways import Way
from .worker import Died, Failed, Worker

TEXT, BINARY = ".onnxtxt", ".onnx"


def read(path: Path) -> Small:
    """A case from its file."""
    if path.suffix == BINARY:
        model = onnx.load(path)
        head = json.loads({entry.key: entry.value for entry in model.metadata_props}["case"])
        del model.metadata_props[:]
        return Small(model, [_feed(head["feeds"])], Way.parse(head["way"]), Finding(head["way"], "", head["found"]))
    text = path.read_text()
    lines = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    fields = [line.partition(": ") for line in lines]
    way = next(value for key, _, value in fields if key == "way")
    found = next((value for key, _, value in fields if key == "found"), "")
    feed = _feed([value for key, _, value in fields if key == "feed"])
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return Small(onnx.parser.parse_model(body), [feed], Way.parse(way), Finding(way, "", found))


def write(folder: Path, worker: Worker, name: str, case: Small) -> Path:
    """Store a case, as text if it fails in that form too."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _unused(folder, f"{name}-{_first_pass(case.way)}-{case.finding.kind}")
    text = path.with_suffix(TEXT)
    try:
        text.write_text(_as_text(case))
        again = read(text)
        found = worker.call("try_model", again.model.SerializeToString(), again.feeds, again.way)
        if isinstance(found, Finding) and found.kind == case.finding.kind:
            return text
    except Died:
        return text
    except (Failed, onnx.parser.ParseError, ValueError, StopIteration):
        pass
    text.unlink(missing_ok=True)
    binary = path.with_suffix(BINARY)
    model = replace(case).model
    head = {"way": str(case.way), "found": _found(case), "feeds": [_spelled(*item) for item in case.feeds[0].items()]}
    model.metadata_props.add(key="case", value=json.dumps(head))
    binary.write_bytes(model.SerializeToString())
    return binary


def _first_pass(way: Way) -> str:
    """The name of the first pass, without what a file's name can't have."""
    return re.split(r"[,()]", way.pipeline.removeprefix("repeat("))[0].rpartition("/")[2].rpartition(":")[2]


def _unused(folder: Path, stem: str) -> Path:
    number = 0
    while any((folder / f"{stem}{'-' + str(number) if number else ''}{end}").exists() for end in (TEXT, BINARY)):
        number += 1
    return folder / f"{stem}{'-' + str(number) if number else ''}.case"


def _found(case: Small) -> str:
    return f"{case.finding.kind}: {case.finding.text}"


def _as_text(case: Small) -> str:
    lines = [f"# way: {case.way}", f"# found: {_found(case)}"]
    lines += [f"# feed: {_spelled(name, value)}" for name, value in case.feeds[0].items()]
    return "\n".join([*lines, onnx.printer.to_text(case.model), ""])


def _spelled(name: str, value: Any) -> str:
    if not isinstance(value, np.ndarray):
        raise ValueError("no tensor")
    if value.dtype == object:
        return f"{name} {value.dtype.name} {json.dumps(list(value.shape))} {json.dumps(value.reshape(-1).tolist())}"
    return f"{name} {value.dtype.name} {json.dumps(list(value.shape))} {' '.join(map(_number, value.reshape(-1).tolist()))}"


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool | int) else repr(float(value))


def _feed(lines: list[str]) -> Feed:
    feed = {}
    for line in lines:
        name, dtype, rest = line.split(" ", 2)
        shape, _, numbers = rest.partition("]")
        dims = json.loads(shape + "]")
        if dtype == "object":
            feed[name] = np.array(json.loads(numbers), object).reshape(dims)
            continue
        parsed = [
            math.nan if n == "nan" else float(n) if "." in n or "e" in n or "inf" in n else int(n)
            for n in numbers.split()
        ]
        feed[name] = np.array(parsed, object if not parsed else None).astype(dtype_of(dtype)).reshape(dims)
    return feed
