"""Choosing what stays FP32: by range, by loss, by search, within a number of runs."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx_opt
from onnx_opt.errors import UsageError
from onnx_opt.ir import load
from onnx_opt.passes import PassContext
from onnx_opt.precision import choose, lower
from onnx_opt.precision.formats import FORMATS
from onnx_opt.precision.measured import run_limit
from onnx_opt.precision.metrics import find_metric
from onnx_opt.proof import Evidence
from onnx_text import parse

FLOAT16 = TensorProto.FLOAT16

# ONNX Runtime's processor kernels compute this right in FP16; a GPU does not: the square is Inf.
TRAP = """g (float[4,64] x) => (float[4,64] y) <float[1] k = {400.0}, float two = {2.0}, float eps = {0.00001}> {
    big = Mul(x, k)
    sq = Pow(big, two)
    m = ReduceMean<axes=[-1]>(sq)
    e = Add(m, eps)
    r = Sqrt(e)
    y = Div(big, r)
}"""


def chosen(model: bytes, data=None, tolerance=None, **options):
    graph = load(model)
    context = PassContext(evidence=Evidence(data=data, tolerance=tolerance))
    found = choose(graph, context, FLOAT16, lower=lower, **options)
    return {node.outputs[0].name: reason for node, reason in found.items()}, found.findings


def test_overflow_that_onnxruntime_hides_is_kept_in_fp32():
    kept, findings = chosen(parse(TRAP).SerializeToString())
    assert kept.keys() == {"sq", "m", "e", "r"} | ({"big"} & kept.keys())
    assert "overflows fp16" in kept["sq"] and findings.error < 1e-2
    assert findings.total <= findings.limit == 10


def test_the_loss_of_every_layer_is_told_and_which_of_them_stay():
    kept, findings = chosen(parse(TRAP).SerializeToString())
    layers = {layer["node"]: layer for layer in findings.to_json()["layers"]}
    assert list(layers) == ["big", "sq", "m", "e", "r", "y"]
    assert {name for name, layer in layers.items() if layer["kept"]} == kept.keys()
    assert 0 < layers["y"]["loss"] < 1e-2
    assert layers["sq"]["loss"] == "inf", "400 squared is more than half precision holds"


def test_the_pass_rewrites_it_so_that_nothing_overflows():
    result = onnx_opt.optimize(parse(TRAP), "fp16")
    half = result.report.proof["half"]
    assert result.report.status == "proven" and half["true_half_precision"] < 1e-2
    assert result.report.rewrites["fp16", "scale-before-square"] == 1
    assert [node.op for node in result.model if node.op == "Cast"] == ["Cast", "Cast"]
    assert result.report.measured["fp16"]["by_range"] == 0


def test_without_measuring_the_verdict_in_true_half_precision_takes_it_back():
    result = onnx_opt.optimize(parse(TRAP), "fp16{measure=false}")
    assert any("in true half precision, 0 in ONNX Runtime" in fault.reason for fault in result.report.faults)
    assert result.report.proof["half"]["true_half_precision"] < 1e-2


BODIES = {
    "If": """c = Identity(flag) y = If(c) <
        then_branch = t () => (float[4] a) { big = Mul(x, k) sq = Mul(big, big) a = Div(sq, k) },
        else_branch = e () => (float[4] b) { b = Tanh(x) }>""",
    "Loop": """y = Loop(n, , x) <body = b (int64 i, bool on, float[4] v) => (bool go, float[4] w) {
        go = Identity(on) big = Mul(v, k) sq = Mul(big, big) w = Div(sq, kk) }>""",
    "Scan": """y = Scan <num_scan_inputs = 1, body = b (float v) => (float w) {
        big = Mul(v, k) sq = Mul(big, big) w = Div(sq, kk) }> (x)""",
}


@pytest.mark.parametrize("kind", BODIES)
def test_ranges_inside_of_subgraphs_are_measured(kind):
    source = parse(
        f"g (float[4] x, bool flag) => (float[4] y) <float k = {{400.0}}, float kk = {{160000.0}}, int64 n = {{2}}> "
        f"{{ {BODIES[kind]} }}"
    )
    data = [{"x": np.float32([1, 2, 1.5, 2]), "flag": np.array(flag)} for flag in (True, False)]
    kept, findings = chosen(source.SerializeToString(), data)
    assert "overflows fp16" in kept["sq"] and findings.by_range >= 2
    assert findings.error < 1e-2 and len(findings.trials) == 1


def test_a_loop_that_does_not_run_measures_nothing():
    source = parse(
        f"g (float[4] x, int64 n) => (float[4] y) <float k = {{400.0}}, float kk = {{1.0}}> {{ {BODIES['Loop']} }}"
    )
    kept, findings = chosen(source.SerializeToString(), [{"x": np.ones(4, np.float32), "n": np.array(0)}])
    assert not kept and findings.by_range == 0 and not findings.unmeasured


ADDED_TO = "g (float[4] x) => (float[4] y) <float[1] k = {1e-8}, float[1] one = {ONE}> { a = Mul(x, k) b = Identity(a) c = Add(b, one) y = OP(c, b) }"


@pytest.mark.parametrize(
    ("one", "op", "vanishes"), [("1.0", "Add", True), ("1.0", "Div", False), ("1e-5", "Add", False)]
)
def test_what_vanishes_in_a_sum_anyway_may_be_lost(one, op, vanishes):
    """1e-8 beside 1 is nothing to FP16 (nor is it to FP32); as a divisor, or beside 1e-5, it is not nothing."""
    text = ADDED_TO.replace("ONE", one).replace("OP", op)
    kept, _ = chosen(parse(text).SerializeToString(), [{"x": np.ones(4, np.float32)}], tolerance=0.5)
    assert any("keeps next to nothing" in reason for reason in kept.values()) != vanishes


def test_a_branch_that_vanishes_may_have_tiny_weights():
    """Layer scale: a factor of 1e-8 that was folded into weights and bias of the branch, which a residual takes up."""
    text = """g (float[2,4] x) => (float[2,4] y) <float[4,4] w = {VALUES}, float[4] b = {1e-9, 2e-9, 1e-9, 2e-9}> {
        a = MatMul(x, w) c = Add(a, b) t = Identity(c) y = Add(t, x) }""".replace("VALUES", ", ".join(["1e-9"] * 16))
    data = [{"x": np.ones((2, 4), np.float32)}]
    assert not chosen(parse(text).SerializeToString(), data)[0]
    report = onnx_opt.optimize(parse(text), "fp16", data=data, samples=0).report
    assert report.after.ops["Cast"] == 2 and report.status == "proven"
    kept, _ = chosen(parse(text.replace("y = Add(t, x)", "y = Div(x, t)")).SerializeToString(), data)
    assert "c" in kept


def test_what_the_user_fixes_is_part_of_the_answer():
    model = parse("g (float[2] x) => (float[2] y) { a = Neg(x) y = Sin(a) }").SerializeToString()
    graph = load(model)
    found = choose(graph, PassContext(), FLOAT16, lower=lower, fixed={graph.nodes[1]: "it is blocked"})
    assert list(found.values()) == ["it is blocked"]


CANCELLING = "g (float[8] x) => (float[8] y) <float[1] c = {1000.0}> { a = Add(x, c) s = Sub(a, c) y = Sigmoid(s) }"


def test_nodes_that_lose_most_are_found_by_search():
    data = [{"x": np.linspace(0.1, 0.9, 8, dtype=np.float32)}]
    kept, findings = chosen(parse(CANCELLING).SerializeToString(), data)
    assert {"a", "s"} <= kept.keys() and findings.by_search and findings.error <= findings.tolerance
    assert findings.trials[0].error > findings.tolerance and findings.total <= findings.limit


def test_the_user_decides_what_is_good_enough(tmp_path):
    data, model = [{"x": np.linspace(0.1, 0.9, 8, dtype=np.float32)}], parse(CANCELLING).SerializeToString()
    assert chosen(model, data, tolerance=0.9)[0] == {}
    assert chosen(model, data, metric="max-abs", tolerance=0.9)[0] == {}
    (tmp_path / "mine.py").write_text("def nothing_matters(expected, actual):\n    return 0.0\n")
    assert chosen(model, data, metric=f"{tmp_path}/mine.py:nothing_matters", tolerance=0)[0] == {}
    with pytest.raises(UsageError, match="needs a tolerance"):
        chosen(model, data, metric=f"{tmp_path}/mine.py:nothing_matters")
    with pytest.raises(UsageError, match="unknown metric"):
        chosen(model, data, metric="best")


MANY = 5
PARALLEL = "g (float[4] x) => (OUT) <float[1] c = {1000.0}> { BODY }".replace(
    "OUT", ", ".join(f"float[4] y{i}" for i in range(MANY))
).replace("BODY", " ".join(f"a{i} = Add(x, c) s{i} = Sub(a{i}, c) y{i} = Mul(s{i}, s{i})" for i in range(MANY)))


def test_inputs_on_which_the_result_is_wrong_in_many_places_are_measured_too():
    """Decisions are made on two samples. The third one shows more faults than are taken back one by one."""
    data = [{"x": np.full(4, size, np.float32)} for size in (50, 60, 0.3)]
    report = onnx_opt.optimize(parse(PARALLEL), "fp16", data=data, samples=0).report
    assert report.status == "proven" and not report.faults
    found = report.measured["fp16"]
    assert found["by_search"] >= 2 * MANY and found["total_executions"] <= found["limit"]
    assert found["executions"]["ranges"] == 3 and found["executions"]["sensitivity"] == 2


def test_a_few_faults_on_other_inputs_are_taken_back_one_by_one():
    data = [{"x": np.full(4, size, np.float32)} for size in (50, 60, 0.3)]
    source = parse(PARALLEL.replace(", c) s", ", zero) s", MANY - 1).replace("<", "<float[1] zero = {0}, "))
    report = onnx_opt.optimize(source, "fp16", data=data, samples=0).report
    assert report.status == "proven" and {fault.node for fault in report.faults} == {"a4", "s4"}
    assert report.measured["fp16"]["by_search"] == 0


def test_model_that_is_never_good_enough_stays_in_fp32(tmp_path):
    (tmp_path / "mine.py").write_text("def worse_than_allowed(expected, actual):\n    return 1.0\n")
    source = parse("g (float[8] x) => (float[8] y) { a = Tanh(x) b = Mul(a, a) y = Tanh(b) }")
    metric = f'"{tmp_path}/mine.py:worse_than_allowed"'
    result = onnx_opt.optimize(source, f"fp16{{metric={metric}}}", tolerance=0.5, validate=False)
    assert [node.op for node in result.model] == ["Tanh", "Mul", "Tanh"]
    assert "the model stays in FP32: no set of nodes that was tried stays within 0.5" in result.report.warnings[0]
    measured = result.report.measured["fp16"]
    assert measured["refused"] and measured["total_executions"] <= measured["limit"]


def test_model_that_cannot_run_is_lowered_with_a_warning():
    text = '<ir_version: 8, opset_import: ["" : 17, "foo" : 1]> g (float[2] x) => (float[2] y) { a = Sin(x) y = foo.Bar(a) }'
    result = onnx_opt.optimize(parse(text), "fp16")
    assert "nothing was measured: ONNX Runtime has no operator foo::Bar" in " ".join(result.report.warnings)


def deep(nodes: int, seed: int = 0) -> bytes:
    """Matrix products and activations, with a pair that cancels, which FP16 cannot take, every hundred nodes."""
    rng = np.random.default_rng(seed)
    weights = numpy_helper.from_array(rng.standard_normal((16, 16)).astype(np.float32) / 4, "w")
    large = numpy_helper.from_array(np.float32([3000]), "c")
    made, last = [], "x"
    for index in range(nodes):
        place = index % 100
        op, operands = ("MatMul", [last, "w"]) if index % 3 == 0 else ("Tanh", [last])
        if place in (50, 51):
            op, operands = ("Add" if place == 50 else "Sub"), [last, "c"]
        made.append(helper.make_node(op, operands, [f"v{index}"]))
        last = f"v{index}"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(made, "deep", [value("x", 1, [4, 16])], [value(last, 1, [4, 16])], [weights, large])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_number_of_runs():
    _, findings = chosen(deep(500), [{"x": np.random.default_rng(1).standard_normal((4, 16)).astype(np.float32)}])
    assert (run_limit(1), run_limit(500), run_limit(5000), run_limit(10**6)) == (10, 10, 16, 16)
    assert findings.total <= findings.limit == 10 and sum(findings.executions.values()) == findings.total
    assert findings.refused or findings.error <= findings.tolerance
    assert len(findings.trials) > 1  # it had to search


def test_same_choice_every_time():
    model = deep(200)
    assert chosen(model)[0] == chosen(model)[0]


# -- metrics -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected", "actual", "error"),
    [
        ("max-abs", [1, 2, 4], [1, 2.5, 4], 0.5),
        ("max-rel", [1, 2, 4], [1, 2.5, 4], 0.125),
        ("max-rel", [0, 0], [0, 0], 0),
        ("cosine", [1, 0], [0, 1], 1),
        ("top1", [[1, 2], [3, 1]], [[2, 1], [3, 1]], 0.5),
        ("max-rel", [1, np.inf], [1, np.inf], 0),
        ("max-rel", [1, 70000], [1, np.inf], np.inf),
        ("max-rel", [1, -3.4028235e38], [1, -np.inf], 0),
        ("top1", [1, 2], [1, np.nan], np.inf),
    ],
)
def test_metrics(name, expected, actual, error):
    metric = find_metric(name, None, FORMATS[FLOAT16])
    found = metric.error([np.array(expected, np.float32)], [np.array(actual, np.float32)])
    assert found == pytest.approx(error)


def test_integers_count_by_the_share_that_differs():
    metric = find_metric("max-abs", 0.5, FORMATS[FLOAT16])
    assert metric.error([np.array([1, 2, 3, 4])], [np.array([1, 2, 3, 9])]) == 0.25
    assert not metric.accepts(float("nan"))
