"""Measure on a GPU what aligned channels gain, and write the table that `pad-channels --profile-file` reads.

\b
    python bench/gpu_padding.py                        layers: odd channels beside aligned ones
    python bench/gpu_padding.py --networks             whole networks of odd widths too, as they are and padded
    onnx-opt model.onnx --pad-channels --target ort-cuda --profile-file profile.json

Layers run through ONNX Runtime's CUDA provider in float32 (TF32), float16 and, where its TensorRT provider works too,
INT8. Times are medians, inputs and outputs stay on the device. Without such a device it says so and measures nothing.
"""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np
import onnx
from odd_widths import NETWORKS, WIDTHS
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
FORMAT = 1
KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int8": TensorProto.FLOAT}
CHANNELS = ((3, 4), (10, 16), (20, 24), (37, 40), (60, 64), (62, 64), (63, 64), (98, 104), (127, 128), (250, 256))
"""Odd counts, and the aligned ones that they are padded to."""
REPEATS = 8
"""Layers of one shape in one model, so that what a run costs beside them is shared."""


@dataclass(frozen=True)
class Shape:
    """A layer: `k` channels are summed over and `n` computed, for a batch of 8 square images of `side` (Conv with a
    square kernel) or for `side` squared rows (MatMul)."""

    op: str
    dtype: str
    k: int
    n: int
    side: int
    kernel: int = 1
    batch: int = 8

    @property
    def flops(self) -> float:
        """Operations of one run; a multiplication and an addition are two."""
        return 2.0 * self.batch * self.side**2 * self.k * self.n * self.kernel**2


@click.command(help=__doc__)
@click.option("--output", default="profile.json", type=click.Path(dir_okay=False, path_type=Path), show_default=True)
@click.option("--networks", is_flag=True, help="Measure whole networks too.")
@click.option("--provider", default=CUDA, show_default=True, help="Execution provider; any other is for trying it out.")
@click.option("--runs", default=30, show_default=True, help="Runs of each model; the median counts.")
@click.option("--quick", is_flag=True, help="A few small shapes.")
def main(output: Path, networks: bool, provider: str, runs: int, quick: bool) -> None:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    if hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(io.StringIO()):  # it tells what it does not find; `missing` says whether that matters
            onnxruntime.preload_dlls()
    if why := missing(provider):
        click.echo(f"skipped: {why}")
        return
    device = Device(provider, runs)
    console, report = Console(width=120), device.describe()
    console.print(f"{report['device']}, {report['versions']}")
    rows = measure_layers(device, list(shapes(device.dtypes(), quick)), console)
    report |= {"bandwidth": device.bandwidth(quick), "launch": device.launch(), "rows": rows}
    if networks:
        report["networks"] = measure_networks(device, WIDTHS[:1] if quick else WIDTHS, console)
    output.write_text(json.dumps({"format": FORMAT, **report}, indent=1) + "\n")
    click.echo(f"written: {output}")


def missing(provider: str) -> str:
    """Why nothing can be measured; '' where it can."""
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        return f"this onnxruntime has no {provider}"
    try:
        used = session_of(one_relu(1), provider).get_providers()
    except Exception as error:  # a provider without its libraries or device fails in its own ways
        return f"{provider} does not start: {str(error).splitlines()[0]}"
    return "" if provider in used else f"{provider} finds no device, or not its libraries"


class Device:
    """One execution provider and how it is timed."""

    def __init__(self, provider: str, runs: int):
        self.provider = provider
        self.runs = runs

    def describe(self) -> dict[str, Any]:
        """The device with the versions that matter."""
        import onnxruntime

        versions = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, check=False,
        ) if self.provider != CPU else None  # fmt: skip
        if found is None or found.returncode:
            return {"device": self.provider, "versions": versions}
        name, _, driver = found.stdout.splitlines()[0].partition(", ")
        return {"device": name, "versions": {**versions, "driver": driver}}

    def dtypes(self) -> list[str]:
        has_int8 = self.provider == CUDA and not missing(TENSORRT)
        return ["float32", "float16", *(["int8"] if has_int8 else [])]

    def seconds(self, model: onnx.ModelProto, provider: str | None = None) -> float:
        """The median time of a run, inputs and outputs on the device."""
        import onnxruntime

        provider = provider or self.provider
        session = session_of(model, provider)
        place = "cpu" if provider == CPU else "cuda"
        binding, random = session.io_binding(), np.random.default_rng(0)
        for value in model.graph.input:
            kind = value.type.tensor_type
            dims = [dim.dim_value or 8 for dim in kind.shape.dim]
            array = random.standard_normal(dims).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
            binding.bind_ortvalue_input(value.name, onnxruntime.OrtValue.ortvalue_from_numpy(array, place, 0))
        for value in model.graph.output:
            binding.bind_output(value.name, place, 0)
        times = []
        for _ in range(max(self.runs // 3, 2)):  # kernels are chosen and clocks rise
            session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        for _ in range(self.runs):
            start = perf_counter()
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            times.append(perf_counter() - start)
        return statistics.median(times)

    def bandwidth(self, quick: bool) -> float:
        """Bytes per second of an operator that does nothing but move them."""
        count = 1 << (20 if quick else 27)
        return 2 * 4 * count / self.seconds(one_relu(count))

    def launch(self) -> float:
        """Seconds that one more tiny operator takes."""
        few, many = (self.seconds(one_relu(8, nodes)) for nodes in (1, 101))
        return max((many - few) / 100, 1e-7)


def session_of(model: onnx.ModelProto, provider: str) -> Any:
    """A session that runs nothing but what the provider has, and the rest on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    settings = {CUDA: {"cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": "1"}}.get(provider, {})
    providers = [(provider, settings), *([(CUDA, {})] if provider == TENSORRT else [])]
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


# -- layers ------------------------------------------------------------------------------------------------------------


def shapes(dtypes: Sequence[str], quick: bool) -> Iterator[tuple[Shape, Shape]]:
    """(odd, aligned) pairs."""
    sides = (8,) if quick else (14, 56)
    for dtype in dtypes:
        for odd, even in CHANNELS[1:2] if quick else CHANNELS:
            for side in sides:
                for kernel in (1, 3):
                    yield Shape("Conv", dtype, odd, odd, side, kernel), Shape("Conv", dtype, even, even, side, kernel)
                yield Shape("MatMul", dtype, odd, odd, side), Shape("MatMul", dtype, even, even, side)


def measure_layers(device: Device, pairs: list[tuple[Shape, Shape]], console: Console) -> list[dict[str, Any]]:
    """A row for each shape; the table says what padding the odd one gains."""
    rows, table = [], Table(title="a layer as it is and padded; above 1 padding gains")
    for heading in ("layer", "dtype", "channels", "side", "us", "padded", "us padded", "speed-up"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for odd, even in pairs:
        times = []
        for shape in (odd, even):
            provider = TENSORRT if shape.dtype == "int8" else None
            times.append(device.seconds(layer_model(shape), provider) / REPEATS)
            facts = {"op": shape.op, "dtype": shape.dtype, "k": shape.k, "n": shape.n, "side": shape.side}
            rows.append({**facts, "kernel": shape.kernel, "flops": shape.flops, "seconds": times[-1]})
        layer = f"{odd.op} {odd.kernel}x{odd.kernel}" if odd.op == "Conv" else odd.op
        cells = (odd.dtype, odd.k, odd.side, f"{times[0] * 1e6:.1f}", even.k, f"{times[1] * 1e6:.1f}")
        table.add_row(layer, *map(str, cells), f"{times[0] / times[1]:.2f}")
    console.print(table)
    return rows


def layer_model(shape: Shape) -> onnx.ModelProto:
    """Several layers of one shape side by side, each with weights of its own."""
    is_conv, kind = shape.op == "Conv", KINDS[shape.dtype]
    dims = [shape.batch, shape.k, shape.side, shape.side] if is_conv else [shape.batch * shape.side**2, shape.k]
    weight_dims = [shape.n, shape.k, shape.kernel, shape.kernel] if is_conv else [shape.k, shape.n]
    random, nodes, tensors, outputs = np.random.default_rng(0), [], [], []
    x = "x"
    if shape.dtype == "int8":
        tensors += [
            numpy_helper.from_array(np.array(0.02, np.float32), "scale"),
            numpy_helper.from_array(np.array(0, np.int8), "zero"),
        ]
        nodes += [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        ]
        x = "d"
    for index in range(REPEATS):
        weight, w = random.standard_normal(weight_dims) * shape.k**-0.5, f"w{index}"
        if shape.dtype == "int8":
            array = np.clip(weight * 50, -127, 127).astype(np.int8)
            nodes.append(helper.make_node("DequantizeLinear", [f"{w}q", "scale", "zero"], [w]))
            tensors.append(numpy_helper.from_array(array, f"{w}q"))
        else:
            tensors.append(numpy_helper.from_array(weight.astype(shape.dtype), w))
        attrs: dict[str, Any] = {"pads": [shape.kernel // 2] * 4} if is_conv else {}
        nodes.append(helper.make_node(shape.op, [x, w], [f"y{index}"], **attrs))
        outputs.append(helper.make_tensor_value_info(f"y{index}", kind, None))
    return model_of(nodes, [helper.make_tensor_value_info("x", kind, dims)], outputs, tensors)


def one_relu(count: int, nodes: int = 1) -> onnx.ModelProto:
    """Relu of `count` elements, `nodes` times in a row; Neg between them, lest they become one."""
    names = ["x", *(f"v{index}" for index in range(nodes))]
    ops = ["Relu" if index % 2 == 0 else "Neg" for index in range(nodes)]
    made = [helper.make_node(op, [names[index]], [names[index + 1]]) for index, op in enumerate(ops)]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [count])
    return model_of(made, [value], [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [count])], [])


def model_of(nodes: list[Any], inputs: list[Any], outputs: list[Any], tensors: list[Any]) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "layers", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# -- networks ----------------------------------------------------------------------------------------------------------


def measure_networks(device: Device, widths: Sequence[int], console: Console) -> list[dict[str, Any]]:
    """Networks of odd widths as they are, and padded to multiples of 8 whether that pays or not."""
    import onnx_opt

    rows, table = [], Table(title="a network as it is and padded, float32 (TF32); above 1 padding gains")
    for heading in ("network", "width", "ms", "ms padded", "speed-up"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    with tempfile.TemporaryDirectory() as folder:
        for name, make in NETWORKS.items():
            for width in widths:
                path = Path(folder) / f"{name}.onnx"
                onnx.save(make(width), path)
                plain, padded = (
                    onnx_opt.optimize(path, f"repeat(fold,cleanup){more}", validate=False).to_proto()
                    for more in ("", ",pad-channels{multiple=8},repeat(fold,cleanup)")
                )
                times = device.seconds(plain), device.seconds(padded)
                rows.append({"network": name, "width": width, "seconds": times[0], "seconds_padded": times[1]})
                cells = (f"{times[0] * 1e3:.3f}", f"{times[1] * 1e3:.3f}", f"{times[0] / times[1]:.2f}")
                table.add_row(name, str(width), *cells)
    console.print(table)
    return rows


if __name__ == "__main__":
    sys.exit(main())
