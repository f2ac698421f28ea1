"""What an optimized model is worth, found out in a process of its own: a bad model can bring the runtime down.

\b
    judge.py describe MODEL             nodes and bytes
    judge.py check ORIGINAL RESULT      its size, its interface and its numbers against the original's
    judge.py speed ORIGINAL RESULT...   time of each in one process, in turns

The last line of the output is JSON.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import feeds as inputs
import numpy as np
import onnx
import onnxruntime as ort

TOLERANCES = {"float64": 1e-6, "float32": 1e-3, "float16": 1e-2}
# Rounding before a quantizer moves a value by one of its steps, not by one of floating point.
QUANTIZED_ALLOWANCE = 30.0
# Outputs smaller than this are compared with it: rounding around zero is no error.
SMALL = 1e-3

Dims = list[int | str]
ROUND_S = 0.02
MIN_ROUNDS = 7


def session(path: Path, level: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def node_count(model: onnx.ModelProto) -> int:
    """Nodes of the main graph, of all subgraphs and of local functions."""
    count, pending = 0, [list(model.graph.node), *(list(function.node) for function in model.functions)]
    while pending:
        nodes = pending.pop()
        count += len(nodes)
        for attribute in (attribute for node in nodes for attribute in node.attribute):
            pending += [list(graph.node) for graph in (attribute.g, *attribute.graphs) if graph.node]
    return count


def stored_bytes(path: Path, model: onnx.ModelProto) -> int:
    """Size of the model file and of the files of its external tensors, as far as they exist."""
    tensors = (tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL)
    locations = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    files = [path, *(path.parent / name for name in locations)]
    return sum(file.stat().st_size for file in files if file.exists())


def describe(path: Path) -> dict[str, int]:
    model = onnx.load(path, load_external_data=False)
    return {"nodes": node_count(model), "bytes": stored_bytes(path, model)}


def dims(value: onnx.ValueInfoProto) -> Dims | None:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    # Some exporters write -1 for an open dim.
    return [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param for d in kind.shape.dim]


def interface(model: onnx.ModelProto, *, all_inputs: bool) -> dict[str, list[onnx.ValueInfoProto]]:
    """Inputs and outputs; without `all_inputs` only those inputs that no initializer gives a value."""
    given = set() if all_inputs else {tensor.name for tensor in model.graph.initializer}
    return {
        "inputs": [value for value in model.graph.input if value.name not in given],
        "outputs": list(model.graph.output),
    }


def same_dims(before: Dims | None, after: Dims | None) -> bool:
    """Whether callers may pass what they passed: a fixed dim keeps its size, an open one stays open."""
    if before is None or after is None or len(before) != len(after):
        return before is None or after is None
    pairs = zip(before, after, strict=True)
    return all(was == now if isinstance(was, int) else isinstance(now, str) for was, now in pairs)


def interface_change(before: onnx.ModelProto, after: onnx.ModelProto) -> str:
    """The first difference that a caller would meet, in words; empty when there is none.

    Shapes of outputs are left to `output_change`: runs show which declaration is right.
    """
    # Before IR version 4 every initializer had to be listed as an input without being one.
    old_style = before.ir_version < 4
    sides = [interface(model, all_inputs=not old_style) for model in (before, after)]
    for kind, old in sides[0].items():
        new = sides[1][kind]
        old_names, new_names = [value.name for value in old], [value.name for value in new]
        if missing := [name for name in old_names if name not in new_names]:
            return f"{kind} lost: {', '.join(missing[:3])}"
        if old_names != new_names:
            added = [name for name in new_names if name not in old_names]
            return f"{kind} added: {', '.join(added[:3])}" if added else f"{kind} in another order"
        for was, now in zip(old, new, strict=True):
            if was.type.tensor_type.elem_type != now.type.tensor_type.elem_type:
                return f"type of {was.name} changed"
            if kind == "inputs" and not same_dims(dims(was), dims(now)):
                return f"shape of {was.name}: {dims(was)} became {dims(now)}"
    return ""


def checker_complaint(path: Path) -> str:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # the checker and shape inference raise classes of their own, and RuntimeError
        return first_line(error)
    return ""


def difference(expected: Any, actual: Any, allowance: float = 1.0) -> tuple[float, bool]:
    """(error, within tolerance) of one output.

    The error is the largest absolute difference, for floating point over the largest magnitude expected. Floating
    point is judged by the tolerance of its dtype times `allowance`, 8-bit integers may be one step off, all else is
    exact.
    """
    if not isinstance(expected, np.ndarray) or expected.dtype.kind not in "fiu":
        same = repr(expected) == repr(actual) if not isinstance(expected, np.ndarray) else equal(expected, actual)
        return (0.0 if same else math.inf), same
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return math.inf, False
    one, two = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], two[~finite], equal_nan=True) or not np.isfinite(two[finite]).all():
        return math.inf, False
    gap = float(np.abs(one[finite] - two[finite]).max(initial=0))
    if expected.dtype.kind in "iu":
        return gap, gap <= (1 if expected.dtype.itemsize == 1 else 0)
    error = gap / max(float(np.abs(one[finite]).max(initial=0)), SMALL)
    return error, error <= allowance * TOLERANCES.get(expected.dtype.name, TOLERANCES["float32"])


def equal(expected: np.ndarray, actual: Any) -> bool:
    return isinstance(actual, np.ndarray) and expected.dtype == actual.dtype and np.array_equal(expected, actual)


def worst(before: Sequence[Any], after: Sequence[Any], allowance: float = 1.0) -> tuple[float, bool]:
    """`difference` over all outputs of one run."""
    found = [difference(one, two, allowance) for one, two in zip(before, after, strict=True)]
    return max((error for error, _ in found), default=0.0), all(fine for _, fine in found)


def fits(declared: Dims | None, shape: Sequence[int]) -> bool:
    if declared is None:
        return True
    known = [dim if isinstance(dim, int) else None for dim in declared]
    return len(known) == len(shape) and all(k in (None, s) for k, s in zip(known, shape, strict=True))


def forgets(before: Dims | None, after: Dims | None) -> bool:
    if before is None or after is None:
        return before is not None
    return any(isinstance(was, int) and isinstance(now, str) for was, now in zip(before, after, strict=False))


def output_change(before: onnx.ModelProto, after: onnx.ModelProto, outputs: Sequence[Any]) -> str:
    """The first output whose declared shape got worse, in words; empty when there is none.

    More may be declared than was, or otherwise than was wrong, if it is what the original yields.
    """
    for was, now, array in zip(before.graph.output, after.graph.output, outputs, strict=True):
        shape, old, new = getattr(array, "shape", None), dims(was), dims(now)
        if shape is None or new == old:
            continue
        if not fits(new, shape):
            return f"{now.name} is declared {new} and is {list(shape)}"
        if fits(old, shape) and forgets(old, new):
            return f"shape of {now.name}: {old} became {new}"
    return ""


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def refusal(verdict: str, reason: str) -> dict[str, Any]:
    return {"verdict": verdict, "reason": reason}


def compare(original: Path, result: Path, count: int, fixed: Mapping[str, int]) -> dict[str, Any]:
    """Numbers under ORT_DISABLE_ALL: the runtime's own rewrites would hide the ones under test."""
    try:
        reference = session(original, "DISABLE_ALL")
        samples = inputs.samples(reference, count, fixed)
    except Exception as error:  # ONNX Runtime raises classes of its own for every kind of refusal
        return refusal("not judged", first_line(error))
    expected = [reference.run(None, sample) for sample in samples]
    if worst(expected[0], reference.run(None, samples[0]))[0] > 0:
        return refusal("not judged", "the original gives other numbers every time")
    before, after = (onnx.load(path, load_external_data=False) for path in (original, result))
    if complaint := next(filter(None, (output_change(before, after, outputs) for outputs in expected)), ""):
        return refusal("new interface", complaint)
    try:
        candidate = session(result, "DISABLE_ALL")
        pairs = [(outputs, candidate.run(None, sample)) for outputs, sample in zip(expected, samples, strict=True)]
    except Exception as error:  # the original ran, so this is the result's doing
        return refusal("does not run", first_line(error))
    allowance = QUANTIZED_ALLOWANCE if is_quantized(original) else 1.0
    found = [worst(outputs, actual, allowance) for outputs, actual in pairs]
    fine = all(within for _, within in found)
    return {"verdict": "ok" if fine else "wrong result", "error": max(error for error, _ in found)}


def is_quantized(path: Path) -> bool:
    nodes = onnx.load(path, load_external_data=False).graph.node
    return any("Quantize" in node.op_type for node in nodes)


def verdict(original: Path, result: Path, count: int, fixed: Mapping[str, int]) -> dict[str, Any]:
    before, after = (onnx.load(path, load_external_data=False) for path in (original, result))
    if change := interface_change(before, after):
        return refusal("new interface", change)
    if (complaint := checker_complaint(result)) and not checker_complaint(original):
        return refusal("invalid", complaint)
    return compare(original, result, count, fixed)


def seconds(runner: ort.InferenceSession, sample: inputs.Feeds, repeat: int) -> float:
    """CPU seconds of this thread for one of `repeat` runs; with one thread in the session that is all of it."""
    started = time.thread_time()
    for _ in range(repeat):
        runner.run(None, sample)
    return (time.thread_time() - started) / repeat


def speeds(paths: Sequence[Path], budget_s: float, fixed: Mapping[str, int]) -> list[float]:
    """Least seconds per run of each model under ORT_ENABLE_ALL, in rounds that start at another model every time."""
    sample = inputs.samples(session(paths[0], "DISABLE_ALL"), 1, fixed)[0]
    runners = [session(path, "ENABLE_ALL") for path in paths]
    best = [min(seconds(runner, sample, 1) for _ in range(2)) for runner in runners]
    repeat = max(1, round(ROUND_S / max(best[0], 1e-6)))
    deadline = time.perf_counter() + budget_s * len(paths)
    rounds = 0
    while rounds < MIN_ROUNDS or time.perf_counter() < deadline:
        for turn in range(len(runners)):
            index = (turn + rounds) % len(runners)
            best[index] = min(best[index], seconds(runners[index], sample, repeat))
        rounds += 1
    return best


def parse_dims(pairs: Sequence[str]) -> dict[str, int]:
    return {name: int(number) for name, _, number in (pair.partition("=") for pair in pairs)}


PATH = click.Path(exists=True, dir_okay=False, path_type=Path)
DIM = click.option("--dim", "fixed", multiple=True, metavar="NAME=VALUE")


@click.group(help=__doc__)
def main() -> None: ...


@main.command("describe")
@click.argument("model", type=PATH)
def describe_command(model: Path) -> None:
    print(json.dumps(describe(model)))


@main.command()
@click.argument("original", type=PATH)
@click.argument("result", type=PATH)
@click.option("--samples", default=3, show_default=True)
@DIM
def check(original: Path, result: Path, samples: int, fixed: tuple[str, ...]) -> None:
    print(json.dumps(describe(result) | verdict(original, result, samples, parse_dims(fixed))))


@main.command()
@click.argument("models", type=PATH, nargs=-1, required=True)
@click.option("--seconds", "budget", default=1.0, show_default=True, help="Time for each model.")
@DIM
def speed(models: tuple[Path, ...], budget: float, fixed: tuple[str, ...]) -> None:
    try:
        print(json.dumps(speeds(models, budget, parse_dims(fixed))))
    except Exception as error:  # ONNX Runtime's classes
        raise click.ClickException(first_line(error)) from error


if __name__ == "__main__":
    main()
