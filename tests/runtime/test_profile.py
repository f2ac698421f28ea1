"""From what ran back to the nodes of the file, and from these to the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, parser

import onnx_opt
from onnx_opt.runtime.profile import name_nodes, profile
from onnx_opt.runtime.profiler import timings
from onnx_opt.runtime.settings import Settings
from onnx_opt.runtime.trace import Step, steps_of, trace
from onnx_opt.validate.run import Runtime
from onnx_opt.validate.source import Source

CHAIN = """
<ir_version: 8, opset_import: ["": 17]>
chain (float[2] x) => (float[2] y)
{ [one] a = Neg(x) b = Abs(a) [three] c = Relu(b) [four] d = Exp(c) [five] y = Add(d, b) }
"""

NETWORK = """
<ir_version: 8, opset_import: ["": 17]>
network (float[1, 16, 8, 8] x) => (float[1, 16, 8, 8] y)
<float[16] s = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[16] b = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0},
 float[16] m = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}, float[16] v = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}>
{
  [w_shape] shape = Constant<value_ints: ints = [16, 16, 1, 1]>()
  [w_fill] w = ConstantOfShape<value: tensor = float[1] {0.5}>(shape)
  [conv] c = Conv(x, w)
  [norm] n = BatchNormalization(c, s, b, m, v)
  [act] r = Relu(n)
  [last] y = Sigmoid(r)
}
"""
LOOP = """
<ir_version: 8, opset_import: ["": 17]>
loop (float[4] x) => (float[4] y)
{
  n = Constant<value_int: int = 5>()
  [loop] y = Loop(n, , x) <body = body (int64 i, bool go_on, float[4] state) => (bool same, float[4] next)
    { same = Identity(go_on) [inner] next = Exp(state) }>
}
"""


def model_of(text: str) -> ModelProto:
    return parser.parse_model(text)


def event(name: str, op: str, at: int, lasts: int) -> dict[str, Any]:
    args = {"op_name": op, "provider": "CPUExecutionProvider"}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": at, "dur": lasts, "tid": 1, "args": args}


def run_at(at: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": at, "dur": 0, "tid": 1, "args": {}}


def test_a_fused_node_computes_what_lies_between_its_inputs_and_its_outputs() -> None:
    model = model_of(CHAIN)
    assert name_nodes(model) == {"one", "b", "three", "four", "five"}  # the second bears the name of its result
    graph = [
        Step("f", "Fused", ("x",), ("b",)),
        Step("g", "Gelu", ("b",), ("d",)),
        Step("five", "Add", ("d", "b"), ("y",)),
    ]
    assert trace(steps_of(model), graph) == {"f": ["one", "b"], "g": ["three", "four"], "five": ["five"]}


def test_a_node_that_changes_the_layout_only_computes_nothing_of_the_file() -> None:
    graph = [
        Step("in", "ReorderInput", ("x",), ("reorder",)),
        Step("b_nchwc", "Conv", ("reorder",), ("reorder_token_1",)),
        Step("out", "ReorderOutput", ("reorder_token_1",), ("b",)),
    ]
    model = model_of(CHAIN)
    name_nodes(model)
    assert trace(steps_of(model), graph) == {"in": [], "b_nchwc": ["one", "b"], "out": []}


def test_a_node_with_results_of_new_names_is_known_by_its_own() -> None:
    graph = [
        Step("one/MatMulAddFusion_token_4", "Gemm", ("x",), ("made_up",)),
        Step("InsertedPrecisionFreeCast_d_nchwc", "Conv", ("made_up",), ("made_up_too",)),
        Step("five", "Add", ("made_up_too", "made_up"), ("y",)),
    ]
    model = model_of(CHAIN)
    name_nodes(model)
    found = trace(steps_of(model), graph)
    assert found["one/MatMulAddFusion_token_4"] == ["one"]
    assert found["InsertedPrecisionFreeCast_d_nchwc"] == ["b", "three", "four"]


def test_the_median_of_the_runs_that_count() -> None:
    events = []
    for number, lasts in enumerate((900, 10, 1000, 12)):
        events += [run_at(number * 10_000), event("one", "Neg", number * 10_000 + 1, lasts)]
    found = timings(events, skipped=1)
    assert [(t.name, t.micros, t.calls) for t in found] == [("one", 12, 3)]


def test_the_time_of_a_body_is_not_that_of_its_loop_again() -> None:
    events = [run_at(0), event("loop", "Loop", 1, 100), event("inner", "Exp", 10, 30), event("inner", "Exp", 50, 40)]
    assert {t.name: (t.micros, t.calls) for t in timings(events, 0)} == {"loop": (30, 1), "inner": (70, 2)}


def test_short_nodes_that_seem_to_overlap_keep_their_time() -> None:
    events = [run_at(0), event("a", "Neg", 1, 3), event("b", "Abs", 3, 1)]
    assert {t.name: t.micros for t in timings(events, 0)} == {"a": 3, "b": 1}


@pytest.mark.parametrize("level", ["disabled", "all"])
def test_each_node_of_a_real_run_is_known(level: str) -> None:
    feed = {"x": np.ones((1, 16, 8, 8), np.float32)}
    source = Source(data=model_of(NETWORK).SerializeToString())
    found = profile(source, Runtime(1, settings=Settings(level=level)), feed, runs=3)
    computed = {name for node in found.nodes for name in node.nodes}
    assert {"conv", "norm", "act", "last"} <= computed <= {"w_shape", "w_fill", "conv", "norm", "act", "last"}
    assert sum(node.share for node in found.nodes) == pytest.approx(1)
    assert found.ms == pytest.approx(sum(row[3] for row in found.operators()))


def test_origins_lead_to_the_nodes_of_the_original() -> None:
    result = onnx_opt.optimize(model_of(NETWORK), "fold,fuse-conv-bn-relu,cleanup", target="ort-cpu", metadata=True)
    feed = {"x": np.ones((1, 16, 8, 8), np.float32)}
    found = profile(Source(data=result.to_bytes()), Runtime(1, settings=Settings()), feed, runs=3)
    conv = next(node for node in found.nodes if "Conv" in node.op)
    assert {"conv", "norm"} <= set(conv.origins)
    assert conv.rules and not any("no origins" in note for note in found.notes)


def test_nodes_of_a_body_are_among_them() -> None:
    source = Source(data=model_of(LOOP).SerializeToString())
    found = profile(source, Runtime(1, settings=Settings()), {"x": np.ones(4, np.float32)}, runs=3)
    assert {"loop", "inner"} <= {name for node in found.nodes for name in node.origins}


def test_weights_beside_the_model_are_found(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = model_of(NETWORK.replace("float[1] {0.5}", "float[1] {0.25}"))
    path.write_bytes(model.SerializeToString())
    found = profile(Source.of(path), Runtime(1, settings=Settings()), {"x": np.ones((1, 16, 8, 8), np.float32)}, runs=2)
    assert found.model == str(path) and found.nodes
