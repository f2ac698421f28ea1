"""Deliberately wrong rules, among right ones: each kind of wrongness is found by bisection, taken back and named, the
rest is kept, and the step is written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

import onnx_opt
from onnx_opt.rewrite import Rule, domain, op, require, rule

from .conftest import write


@rule(op.Neg(op.Neg("x")), shared=True, exact=True)
def double_negation(x):
    """Right: it must be kept."""
    return x


@rule(op.Abs(op.Abs("x")), shared=True, exact=True)
def double_absolute(x):
    """Right as well."""
    return op.Abs(x)


# Right rewrites before and behind the place of the wrong one, which is the node called 'here'.
AROUND = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n, 8] x) => (float[] y)
{{
  a = Neg(x) b = Neg(a) c = Abs(b) d = Abs(c) e = Sub(b, d)
  {place}
  [n1] p = Neg(f) [n2] q = Neg(p) [a1] r = Abs(q) [a2] s = Abs(r) y = Concat <axis = 0> (q, s)
}}
"""
KEPT = {"double-negation": 2, "double-absolute": 2}


def repaired(wrong: Rule, place: str, folder: Path, **settings) -> onnx_opt.Result:
    """The model optimized with a wrong rule among right ones; the wrong one is undone and named, the rest is kept."""
    path = write(folder / "model.onnx", AROUND.format(place=place))
    result = onnx_opt.optimize(path, [double_negation, wrong, double_absolute], reproducer=folder / "wrong", **settings)
    report = result.report
    (fault,) = report.faults
    assert fault.rule == wrong.name and fault.node == "here"
    assert {rule: count for (_, rule), count in report.rewrites.items()} == KEPT
    assert report.status == "proven"
    written = (folder / "wrong" / next(p.name for p in (folder / "wrong").iterdir()) / "fault.txt").read_text()
    assert wrong.name in written and fault.reason in written
    return result


def shown(folder: Path) -> tuple[list[str], list[str]]:
    """The operators of the reproducer before and after the wrong step."""
    (place,) = (folder / "wrong").iterdir()
    models = [onnx.load(place / f"{name}.onnx") for name in ("before", "after")]
    first, second = ([node.op_type for node in model.graph.node] for model in models)
    return first, second


def test_a_wrong_value(tmp_path: Path) -> None:
    @rule(op.Tanh("x"), shared=True)
    def tanh_is_sigmoid(x):
        return op.Sigmoid(x)

    result = repaired(tanh_is_sigmoid, "[here] f = Tanh(e)", tmp_path)
    assert "beyond the tolerance" in result.report.faults[0].reason
    before, after = shown(tmp_path)
    assert (before.count("Tanh"), after.count("Tanh")) == (1, 0) and "Sigmoid" in after


def test_a_wrong_type(tmp_path: Path) -> None:
    @rule(op.Tanh("x"), shared=True)
    def hashed(x):
        return domain("com.microsoft").MurmurHash3(x, positive=0)  # the analyses don't know that it gives integers

    result = repaired(hashed, "[here] f = Tanh(e)", tmp_path)
    assert "type" in result.report.faults[0].reason.lower()


def test_a_wrong_type_that_the_analyses_know_is_never_made(tmp_path: Path) -> None:
    @rule(op.Tanh("x"), shared=True)
    def bytes_of(x):
        return op.Cast(op.Sigmoid(x), to=2)

    path = write(tmp_path / "model.onnx", AROUND.format(place="[here] f = Tanh(e)"))
    result = onnx_opt.optimize(path, [double_negation, bytes_of, double_absolute])
    assert not result.report.faults and result.report.status == "proven"
    assert "would change what it replaces" in " ".join(result.explain("here"))


def test_a_wrong_shape(tmp_path: Path) -> None:
    @rule(op.Expand("x", "shape"), shared=True)
    def never_widens(x, shape):
        return x

    place = "k = Shape(x) o = Constant <value = float[1, 8] {1, 1, 1, 1, 1, 1, 1, 1}> () m = Mul(k, k) z = Div(m, k) [here] w = Expand(o, z) f = Mul(w, w)"
    text = place.replace("f = Mul(w, w)", "f = Transpose(w)")
    result = repaired(never_widens, text, tmp_path)
    assert "shape differs" in result.report.faults[0].reason


def test_wrong_at_one_size_of_a_dynamic_dim_only(tmp_path: Path) -> None:
    @rule(op.Tanh("x").named("node"), shared=True)
    def forgets_single_rows(x, node):
        require(node.name == "here", "it is what the rule made")
        several = op.Greater(op.Gather(op.Shape(x), np.int64(0)), np.int64(1))
        return op.Mul(op.Tanh(x), op.Cast(several, to=1))

    result = repaired(forgets_single_rows, "[here] f = Tanh(e)", tmp_path)
    assert "n=1" in result.report.faults[0].reason
    assert onnx_opt.optimize(tmp_path / "model.onnx", forgets_single_rows, dims={"n": (2, 9)}).report.faults == []


def test_wrong_for_nan_only(tmp_path: Path) -> None:
    @rule(op.Equal("x", "x"), shared=True)
    def every_number_equals_itself(x):
        return op.Not(op.Less(x, x))

    result = repaired(every_number_equals_itself, "[here] g = Equal(e, e) f = Cast <to = 1> (g)", tmp_path)
    assert "NaN" in result.report.faults[0].reason


def test_wrong_for_infinities_only(tmp_path: Path) -> None:
    @rule(op.Clip("x"), shared=True)
    def clips_nothing(x):
        return x

    result = repaired(clips_nothing, "[here] f = Clip(e)", tmp_path)
    assert "infinities" in result.report.faults[0].reason


def test_wrong_in_one_branch_only(tmp_path: Path) -> None:
    @rule(op.Exp("x"), shared=True)
    def exp_is_softplus(x, graph):
        require(graph.owner is not None, "in the main graph it is right")
        return op.Softplus(x)

    branches = """then_branch = t () => (float[n, 8] i) { [here] i = Exp(e) },
    else_branch = o () => (float[n, 8] j) { j = Softplus(u) }"""
    place = "h = ReduceSum <keepdims = 0> (e) l = Constant <value = float {-20}> () less = Less(h, l) u = Exp(e)"
    result = repaired(exp_is_softplus, f"{place} f = If (less) <{branches}>", tmp_path)
    assert result.report.faults[0].origin == ("here",)


def test_an_attribute_that_onnxruntime_refuses(tmp_path: Path) -> None:
    @rule(op.Selu("x"), shared=True)
    def nonsense(x):
        return op.Selu(x, gamma=[1, 2, 3])

    result = repaired(nonsense, "[here] f = Selu(e)", tmp_path)
    assert "does not load" in result.report.faults[0].reason or "loads the original" in result.report.faults[0].reason


def test_a_rule_that_raises_is_left_out_and_named(tmp_path: Path) -> None:
    @rule(op.Tanh("x"), shared=True)
    def careless(x):
        return x.dims[7]

    path = write(tmp_path / "model.onnx", AROUND.format(place="[here] f = Tanh(e)"))
    report = onnx_opt.optimize(path, [double_negation, careless, double_absolute]).report
    assert {rule: count for (_, rule), count in report.rewrites.items()} == KEPT
    assert any("rule careless failed at node 'here': IndexError" in warning for warning in report.warnings)
    assert report.status == "proven"


def test_several_kinds_at_once(tmp_path: Path) -> None:
    @rule(op.Tanh("x"), shared=True)
    def tanh_is_sigmoid(x):
        return op.Sigmoid(x)

    @rule(op.Equal("x", "x"), shared=True)
    def every_number_equals_itself(x):
        return op.Not(op.Less(x, x))

    place = "[here] g = Equal(e, e) h = Cast <to = 1> (g) [there] t = Tanh(e) f = Concat <axis = 1> (h, t)"
    path = write(tmp_path / "model.onnx", AROUND.format(place=place))
    rules = [double_negation, tanh_is_sigmoid, every_number_equals_itself, double_absolute]
    report = onnx_opt.optimize(path, rules).report
    assert {(fault.rule, fault.node) for fault in report.faults} == {
        ("tanh-is-sigmoid", "there"),
        ("every-number-equals-itself", "here"),
    }
    assert {rule: count for (_, rule), count in report.rewrites.items()} == KEPT and report.status == "proven"
