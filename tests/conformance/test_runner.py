"""The runner finds what is wrong, and makes it small."""

from __future__ import annotations

import numpy as np
import onnx.parser
from runner.edits import pruned
from runner.judge import Finding, Original, judge
from runner.shrink import shrink
from runner.store import read, write
from runner.ways import Way
from runner.worker import Died, Worker

WRONG = f"{__file__.removesuffix('test_runner.py')}wrong.py"

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 2] x, float[2] unread) => (float[n, 2] y, float[n, 2] z) <float[2] w = {1, 2}> {
   a = Add(x, w)
   b = Mul(a, w)
   c = Relu(b)
   y = Tanh(c)
   z = Neg(b)
}
"""


def test_a_wrong_rule_is_found_and_its_case_made_small(tmp_path):
    model = onnx.parser.parse_model(MODEL)
    feeds = [{"x": np.float32([[1, -2], [-3, 4]]), "unread": np.zeros(2, np.float32)}]
    finding = judge(Original.of(model, feeds), Way(f"{WRONG}:relu_is_identity"))
    assert isinstance(finding, Finding) and finding.kind == "different"
    worker = Worker()
    try:
        small = shrink(worker, model.SerializeToString(), feeds, Way(f"{WRONG}:relu_is_identity"), finding)
        path = write(tmp_path, worker, "case", small)
    finally:
        worker.close()
    assert [node.op_type for node in small.model.graph.node] == ["Relu"]
    again = read(path)
    assert again.way == small.way and again.feeds[0].keys() == small.feeds[0].keys()
    assert path.suffix == ".onnxtxt"


def test_a_fault_in_how_dead_code_is_treated_keeps_some_when_it_is_made_small():
    model = onnx.parser.parse_model(MODEL)
    model.graph.node.append(onnx.helper.make_node("Exp", ["a"], ["unread_result"]))
    model.graph.node.append(onnx.helper.make_node("Sqrt", ["unread_result"], ["unread_too"]))
    feeds = [{"x": np.float32([[1, -2], [-3, 4]]), "unread": np.zeros(2, np.float32)}]
    way = Way(f"{WRONG}:fails_on_dead_code")
    finding = judge(Original.of(model, feeds), way)
    assert isinstance(finding, Finding) and finding.kind == "failed"
    worker = Worker()
    try:
        small = shrink(worker, model.SerializeToString(), feeds, way, finding)
    finally:
        worker.close()
    assert [node.op_type for node in small.model.graph.node] == ["Exp"]


def test_what_is_right_is_not_reported():
    model = onnx.parser.parse_model(MODEL)
    feeds = [{"x": np.float32([[1, -2], [-3, 4]]), "unread": np.zeros(2, np.float32)}]
    assert judge(Original.of(model, feeds), Way("O2")) is None


def test_pruning_keeps_what_the_outputs_need():
    model = onnx.parser.parse_model(MODEL)
    del model.graph.output[0]
    small = pruned(model)
    assert [node.op_type for node in small.graph.node] == ["Add", "Mul", "Neg"]
    assert [value.name for value in small.graph.input] == ["x"]


def test_a_process_that_dies_is_told_from_one_that_answers():
    worker = Worker()
    integers = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (int32[n] x, int32[n] y) => (int32[n] z) { z = Div(x, y) }'
    )
    feed = {"x": np.int32([1]), "y": np.int32([0])}
    try:
        try:
            worker.call("try_model", integers.SerializeToString(), [feed], Way("O1"))
        except Died as death:
            assert death.stage == "original" and not death.hangs
        feed["y"] = np.int32([1])
        assert worker.call("try_model", integers.SerializeToString(), [feed], Way("O1")) is None
    finally:
        worker.close()
