"""When an operator is the identity. Every positive instance is run: the result must equal the operand to the bit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from onnx_opt import traits
from onnx_opt.ir import load
from onnx_opt_rules.tables import noops

# (node, constants, operand): the graph has inputs x: float[2,3,4], i: int64[2,3,4], u: uint8[2,3,4], b: bool[2,3,4],
# s: float (a scalar), n: float[1,4,2,2], d: float[N,3,M]; `operand` is the index that the result repeats.
Instance = tuple[str, str, int | None]
INPUTS = "float[2,3,4] x, int64[2,3,4] i, uint8[2,3,4] u, bool[2,3,4] b, float s, float[1,4,2,2] n, float[N,3,M] d"
FAR = 2**62
ONES = "float[4] k = {1, 1, 1, 1}"

POSITIVE: list[Instance] = [
    ("y = Identity(x)", "", 0),
    ("y = Dropout(x)", "", 0),
    ("y, mask = Dropout(x)", "", 0),
    ("y = Cast <to = 1> (x)", "", 0),
    ("y = CastLike(x, s)", "", 0),
    ("y = Transpose <perm = [0, 1, 2]> (x)", "", 0),
    ("y = Transpose <perm = [0, 1, 2]> (d)", "", 0),
    ("y = Transpose(s)", "", 0),
    ("y = Reshape(x, k)", "int64[3] k = {2, 3, 4}", 0),
    ("y = Reshape(x, k)", "int64[3] k = {0, -1, 4}", 0),
    ("y = Reshape(d, k)", "int64[3] k = {0, 0, -1}", 0),
    ("y = Slice(x, k, e)", f"int64[3] k = {{0, 0, -9}}, int64[3] e = {{9, 3, {FAR}}}", 0),
    ("y = Slice(d, k, e, a)", f"int64[1] k = {{0}}, int64[1] e = {{{FAR}}}, int64[1] a = {{2}}", 0),
    ("y = Concat <axis = 0> (x)", "", 0),
    ("y = Concat <axis = 1> (e, x)", "float[2, 0, 4] e = {}", 1),
    ("y = Split <axis = 1, num_outputs = 1> (x)", "", 0),
    ("y = Pad(x, p)", "int64[6] p = {0, 0, 0, 0, 0, 0}", 0),
    ("y = Expand(x, k)", "int64[3] k = {2, 1, 4}", 0),
    ("y = Expand(x, k)", "int64[1] k = {1}", 0),
    ("y = Tile(x, k)", "int64[3] k = {1, 1, 1}", 0),
    ("y = Squeeze(x)", "", 0),
    ("y = Squeeze(x, k)", "int64[0] k = {}", 0),
    ("y = Unsqueeze(x, k)", "int64[0] k = {}", 0),
    ("y = Flatten <axis = 1> (f)", "float[2, 3] f = {1, 2, 3, 4, 5, 6}", 0),
    ("y = Gather <axis = 1> (x, k)", "int64[3] k = {0, 1, 2}", 0),
    ("y = Add(x, k)", "float[1] k = {-0.0}", 0),
    ("y = Add(k, x)", "float k = {-0.0}", 1),
    ("y = Add(i, k)", "int64[1] k = {0}", 0),
    ("y = Sub(x, k)", "float[1] k = {0.0}", 0),
    ("y = Sub(i, k)", "int64[1] k = {0}", 0),
    ("y = Mul(x, k)", "float[1, 1] k = {1}", 0),
    ("y = Mul(k, x)", "float[4] k = {1, 1, 1, 1}", 1),
    ("y = Mul(i, k)", "int64[1] k = {1}", 0),
    ("y = Div(x, k)", "float[3, 1] k = {1, 1, 1}", 0),
    ("y = Div(i, k)", "int64 k = {1}", 0),
    ("y = Pow(x, k)", "float k = {1}", 0),
    ("y = Pow(x, k)", "float[1] k = {1}", 0),
    ("y = And(b, k)", "bool k = {1}", 0),
    ("y = Or(k, b)", "bool k = {0}", 1),
    ("y = Xor(b, k)", "bool[1] k = {0}", 0),
    ("y = And(b, b)", "", 0),
    ("y = Or(b, b)", "", 0),
    ("y = Max(x)", "", 0),
    ("y = Min(x, x)", "", 0),
    ("y = Max(x, x)", "", 0),
    ("y = Sum(x)", "", 0),
    ("y = Mean(x)", "", 0),
    ("y = Where(k, x, s)", "bool[1] k = {1}", 1),
    ("y = Where(k, s, x)", "bool[2, 1, 1] k = {0, 0}", 2),
    ("y = Where(b, x, x)", "", 1),
    ("y = ReduceSum <noop_with_empty_axes = 1> (x)", "", 0),
    ("y = ReduceSum <noop_with_empty_axes = 1> (x, k)", "int64[0] k = {}", 0),
    ("y = DepthToSpace <blocksize = 1> (n)", "", 0),
    ("y = SpaceToDepth <blocksize = 1> (n)", "", 0),
    ('y = Einsum <equation = "abc->abc"> (x)', "", 0),
    ("y = Abs(u)", "", 0),
    ("y = Clip(i)", "", 0),
    ('y = BitShift <direction = "LEFT"> (u, k)', "uint8 k = {0}", 0),
    ("y = ScatterND(x, k, e)", "int64[0, 1] k = {}, float[0, 3, 4] e = {}", 0),
    ("y = ScatterElements <axis = 1> (x, k, e)", "int64[2, 0, 4] k = {}, float[2, 0, 4] e = {}", 0),
    *(
        (f'y = Resize <mode = "{mode}", coordinate_transformation_mode = "{how}"> (n, , k)', ONES, 0)
        for mode in ("nearest", "linear", "cubic")
        for how in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    ),
    ('y = Resize <mode = "linear"> (n, , , k)', "int64[4] k = {1, 4, 2, 2}", 0),
]

NEGATIVE: list[Instance] = [
    ("y = Cast <to = 11> (x)", "", None),
    ("y = CastLike(x, i)", "", None),
    ("y = Transpose(x)", "", None),
    ("y = Transpose <perm = [0, 2, 1]> (x)", "", None),
    ("y = Reshape(x, k)", "int64[3] k = {3, 2, 4}", None),
    ("y = Reshape(d, k)", "int64[3] k = {0, -1, 3}", None),
    ("y = Slice(x, k, e)", "int64[3] k = {0, 0, 1}, int64[3] e = {9, 9, 9}", None),
    ("y = Slice(x, k, e, a, t)",
     f"int64[1] k = {{-1}}, int64[1] e = {{{-FAR}}}, int64[1] a = {{1}}, int64[1] t = {{-1}}", None),
    ("y = Concat <axis = 1> (x, x)", "", None),
    ("y = Pad(x, p)", "int64[6] p = {0, 0, 1, 0, 0, -1}", None),
    ("y = Expand(x, k)", "int64[4] k = {1, 2, 3, 4}", None),
    ("y = Expand(s, k)", "int64[1] k = {1}", None),
    ("y = Expand(d, k)", "int64[3] k = {2, 3, 4}", None),
    ("y = Tile(x, k)", "int64[3] k = {1, 2, 1}", None),
    ("y = Gather <axis = 1> (x, k)", "int64[3] k = {0, 2, 1}", None),
    ("y = Gather <axis = 1> (x, k)", "int64[2] k = {0, 1}", None),
    ("y = Gather <axis = 0> (d, k)", "int64[2] k = {0, 1}", None),
    ("y = Add(x, k)", "float[1] k = {0.0}", None),  # -0.0 + 0.0 is +0.0
    ("y = Sub(x, k)", "float[1] k = {-0.0}", None),
    ("y = Sub(k, x)", "float[1] k = {0.0}", None),
    ("y = Div(k, x)", "float[1] k = {1}", None),
    ("y = Pow(k, x)", "float[1] k = {1}", None),
    ("y = Pow(i, k)", "int64[1] k = {1}", None),
    ("y = Mul(x, k)", "float[4] k = {1, 1, 1, 1.0000001}", None),
    ("y = Mul(x, k)", "float[1, 1, 1, 1] k = {1}", None),  # one dimension more
    ("y = Mul(s, k)", "float[1] k = {1}", None),
    ("y = Mul(d, k)", "float[2, 3, 4] k = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}", None),
    ("y = And(b, k)", "bool k = {0}", None),
    ("y = Xor(b, b)", "", None),
    ("y = Max(x, s)", "", None),
    ("y = Where(k, s, x)", "bool[1] k = {1}", None),  # stretches the scalar
    ("y = Where(k, x, x)", "bool[5, 1, 1, 1] k = {1, 1, 1, 1, 1}", None),
    ("y = Where(b, x, s)", "", None),
    ("y = ReduceSum(x)", "", None),
    ("y = DepthToSpace <blocksize = 2> (n)", "", None),
    ('y = Einsum <equation = "abc->acb"> (x)', "", None),
    ("y = Abs(x)", "", None),
    ("y = Clip(x)", "", None),  # infinities become the largest finite number
    ("y = Clip(i, k)", "int64 k = {0}", None),
    ("y = ScatterND(x, k, e)", "int64[1, 0] k = {}, float[1, 2, 3, 4] e = {" + "0, " * 23 + "0}", None),  # all of x
    ("y = Resize(n, , k)", "float[4] k = {1, 1, 2, 2}", None),
    ('y = Resize <coordinate_transformation_mode = "tf_crop_and_resize"> (n, r, k)',
     "float[8] r = {0, 0, 0, 0, 1, 1, 1, 1}, float[4] k = {1, 1, 1, 1}", None),
    ("y, mask = Dropout(x, s, t)", "bool t = {1}", None),
    ("y = Dropout(x, s, t)", "", None),
]  # fmt: skip


def model_of(node: str, constants: str, outputs: str = "y") -> ModelProto:
    results = ", ".join(f"float {name}" for name in outputs.split())
    inputs = INPUTS + (", bool t" if "t)" in node and " t = " not in constants else "")
    text = f'<ir_version: 10, opset_import: ["" : 18]> g ({inputs}) => ({results}) <{constants}> {{ {node} }}'
    model = parser.parse_model(text)
    for output in model.graph.output:
        output.ClearField("type")  # for the analyses to find
    return model


def found_in(model: ModelProto) -> int | None:
    (node,) = load(model.SerializeToString())
    return traits.identity_operand(node)


@pytest.mark.parametrize(("node", "constants", "operand"), POSITIVE + NEGATIVE)
def test_identity_operand(node: str, constants: str, operand: int | None) -> None:
    assert found_in(model_of(node, constants)) == operand


def test_every_operator_has_a_positive_instance() -> None:
    tested = {node.split("=")[1].split("(")[0].split("<")[0].strip() for node, _, _ in POSITIVE}
    assert set(noops.NOOPS) - tested == {"Upsample", "OptionalGetElement", "CenterCropPad"} | {
        "BitCast", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"
    }  # fmt: skip


@pytest.mark.parametrize(("node", "constants", "operand"), POSITIVE)
def test_the_result_equals_the_operand(node: str, constants: str, operand: int) -> None:
    ort = pytest.importorskip("onnxruntime")
    ort.set_default_logger_severity(4)
    model = model_of(node, constants)
    name = model.graph.node[0].input[operand]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = _feeds()
    (result,) = session.run(["y"], {value.name: feeds[value.name] for value in session.get_inputs()})
    constants_by_name = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    wanted = feeds[name] if name in feeds else constants_by_name[name]
    assert result.dtype == wanted.dtype and result.shape == wanted.shape
    assert result.tobytes() == wanted.tobytes()


def _feeds() -> dict[str, np.ndarray]:
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, 1, -1, 0.5, 2.5]
    floats = np.array(special * 2, np.float32)
    ints = np.resize(np.array([0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1]), 24)
    return {
        "x": floats.reshape(2, 3, 4),
        "d": floats.reshape(2, 3, 4),
        "i": ints.reshape(2, 3, 4),
        "u": np.arange(232, 256, dtype=np.uint8).reshape(2, 3, 4),
        "b": (np.arange(24) % 3 == 0).reshape(2, 3, 4),
        "s": np.array(-0.0, np.float32),
        "n": floats[:16].reshape(1, 4, 2, 2),
    }


def test_operator_sets_before_7_broadcast_by_attribute() -> None:
    def model(version: int, operands: list[str], **attributes: Any) -> ModelProto:
        graph = helper.make_graph([helper.make_node("Mul", operands, ["y"], **attributes)], "g", [], [])
        graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4]))
        graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 4]))
        graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "k"))
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", version)])

    assert found_in(model(6, ["x", "k"], broadcast=1, axis=1)) == 0
    assert found_in(model(6, ["k", "x"])) is None
    assert found_in(model(7, ["x", "k"])) is None  # 3 does not broadcast to 4


def test_a_used_mask_keeps_its_dropout() -> None:
    model = model_of("y, mask = Dropout(x)", "", "y mask")
    assert found_in(model) is None


def test_node_tests_of_the_onnx_package() -> None:
    """Wherever a node is said to be the identity, the expected result equals the operand."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        tests = load_model_tests(kind="node")
    claimed = 0
    for test in tests:
        if len(test.model.graph.node) != 1:
            continue
        model = ModelProto()
        model.CopyFrom(test.model)
        inputs, outputs = test.data_sets[0]
        arrays = dict(zip((value.name for value in model.graph.input), inputs, strict=False))
        small = {name: a for name, a in arrays.items() if isinstance(a, np.ndarray) and a.dtype == np.int64}
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in small.items())
        kept = [value for value in model.graph.input if value.name not in small]
        del model.graph.input[:]
        model.graph.input.extend(kept)
        (node,) = load(model.SerializeToString())
        operand = traits.identity_operand(node)
        if operand is not None and isinstance(outputs[0], np.ndarray):
            claimed += 1
            assert np.array_equal(arrays[node.inputs[operand].name], outputs[0], equal_nan=True), test.name
    assert claimed > 5
