"""Laws of arithmetic as rules: what holds to the bit, and what needs --fast-math."""

import numpy as np
import onnx
import pytest

import onnx_opt
from onnx_opt.errors import UsageError
from onnx_opt.ir import load, to_bytes
from onnx_opt.liberties import ALL, read_liberties
from onnx_opt.passes import PassContext
from onnx_opt.pipeline import Pipeline
from onnx_opt.rewrite import Granted, apply_rules, op, rule
from onnx_text import parse

DYNAMIC = "g (float[n, 4] x, int32[n, 4] i, bool[n, 4] b) => (%s[] y) <%s> { y = %s }"


def simplified(
    expression: str, constants: str = "", result: str = "float", granted: object = ()
) -> tuple[list[str], list[str]]:
    """The operators that remain, and the reasons why no more went."""
    graph = load(parse(DYNAMIC % (result, constants, expression)))
    context = PassContext(liberties=read_liberties(granted))
    Pipeline.parse("algebra,cleanup").run(graph, context)
    return [node.op for node in graph], context.journal.reasons()


FLOAT_LAWS = [
    ("Add(x, c)", "float[1] c = {0.0}", "no-signed-zeros"),
    ("Sub(x, c)", "float[1] c = {-0.0}", "no-signed-zeros"),
    ("Mul(x, c)", "float[1] c = {0.0}", "no-infs,no-nans,no-signed-zeros"),
    ("Mul(c, x)", "float[1] c = {-0.0}", "no-infs,no-nans,no-signed-zeros"),
    ("Sub(x, x)", "", "no-infs,no-nans"),
    ("Div(x, x)", "", "no-infs,no-nans"),
]


@pytest.mark.parametrize(("expression", "constants", "needs"), FLOAT_LAWS)
def test_floats_need_liberties(expression, constants, needs):
    before, reasons = simplified(expression, constants)
    assert before == [expression.partition("(")[0]]
    assert f"it needs --fast-math={needs}" in reasons
    assert simplified(expression, constants, granted=needs)[0] in (["Identity"], ["Shape", "ConstantOfShape"])
    for one in needs.split(","):
        assert simplified(expression, constants, granted=ALL - {one})[0] == before


@pytest.mark.parametrize(
    ("expression", "constants", "result", "after"),
    [
        ("Mul(i, c)", "int32[1] c = {0}", "int32", ["Shape", "ConstantOfShape"]),
        ("Sub(i, i)", "", "int32", ["Shape", "ConstantOfShape"]),
        ("And(b, c)", "bool[1] c = {0}", "bool", ["Shape", "ConstantOfShape"]),
        ("Equal(i, i)", "", "bool", ["Shape", "ConstantOfShape"]),
        ("Less(x, x)", "", "bool", ["Shape", "ConstantOfShape"]),
        ("Add(i, c)", "int32[1] c = {0}", "int32", ["Identity"]),
    ],
)
def test_laws_that_hold_to_the_bit(expression, constants, result, after):
    assert simplified(expression, constants, result)[0] == after


def test_what_no_law_says():
    assert simplified("Div(i, i)", result="int32") == (["Div"], ["no law speaks of operands of this type"])
    assert simplified("Equal(x, x)", result="bool") == (["Equal"], ["it needs --fast-math=no-nans"])
    assert simplified("Sub(c, x)", "float[1] c = {0.0}", granted="all")[0] == ["Sub"]


def test_widening_operands_stay():
    ops, reasons = simplified("Mul(x, c)", "float[5, 1, 1] c = {0, 0, 0, 0, 0}", granted="all")
    assert ops == ["Mul"] and "the constant may widen the operand" in reasons


def test_constants_come_together():
    model = "g (float[n, 4] x) => (float[n, 4] y) <float[4] a = {1, 2, 3, 4}, float b = {0.5}> { s = Add(x, a) y = Add(s, b) }"
    kept, moved = (onnx_opt.optimize(parse(model), fast_math=granted) for granted in (False, "reassociate"))
    assert [node.op for node in kept.model] == ["Add", "Add"]
    assert [node.op for node in moved.model] == ["Add"]
    assert moved.report.status == "proven"


def test_constants_that_would_overflow_or_vanish_stay_apart():
    model = "g (float[n] x) => (float[n] y) <float a = {1e30}, float b = {%s}> { s = Mul(x, a) y = Mul(s, b) }"
    for b in ("1e30", "-1e30"):
        assert [n.op for n in onnx_opt.optimize(parse(model % b), fast_math=True).model] == ["Mul", "Mul"]
    tiny = model.replace("1e30", "1e-30") % "1e-30"
    assert [n.op for n in onnx_opt.optimize(parse(tiny), fast_math=True).model] == ["Mul", "Mul"]


def test_integers_wrap_and_need_nothing():
    text = "g (int32[n] x) => (int32[n] y) <int32 a = {2147483647}, int32 b = {2}> { s = Add(x, a) y = Add(s, b) }"
    graph = load(parse(text))
    Pipeline.parse("algebra").run(graph, PassContext())
    model = onnx.ModelProto.FromString(to_bytes(graph))
    assert [node.op_type for node in model.graph.node] == ["Add"]
    (constant,) = [
        onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name in model.graph.node[0].input
    ]
    assert constant == np.int32(-2147483647)


# -- the report, and what stays as it was without the flag -------------------------------------------------------------

SEVERAL = (
    "g (float[n, 4] x) => (float[n, 4] y) <float z = {0.0}> { p = Mul(x, z) q = Add(x, p) d = Sub(x, x) y = Add(q, d) }"
)


def test_liberties_are_reported():
    report = onnx_opt.optimize(parse(SEVERAL), fast_math=True).report
    assert report.status == "proven"
    fast_math = report.to_dict()["fast_math"]
    assert fast_math["granted"] == sorted(ALL)
    taken = {(each["liberty"], each["rule"]): each["count"] for each in fast_math["taken"]}
    assert taken["no-nans", "equal-operands"] == 1 and taken["no-signed-zeros", "absorbing-constant"] == 1


def test_zeros_among_the_samples_do_not_speak_against_a_quotient():
    text = "g (float[n, 4] x) => (float[n, 4] y) { d = Div(x, x) y = Add(d, x) }"
    result = onnx_opt.optimize(parse(text), fast_math="no-nans,no-infs")
    assert not result.report.faults and result.report.status == "proven"
    assert "Div" not in [node.op for node in result.model]


def test_nothing_changes_without_the_flag():
    plain = onnx_opt.optimize(parse(SEVERAL))
    assert [node.op for node in plain.model] == ["Mul", "Add", "Sub", "Add"]
    assert "algebra" not in plain.report.pipeline
    assert plain.report.to_dict()["fast_math"] == {"granted": [], "taken": []}
    assert [n.op for n in onnx_opt.optimize(parse(SEVERAL), level=0, fast_math=True).model] == [
        "Mul",
        "Add",
        "Sub",
        "Add",
    ]


def test_names_of_liberties():
    assert read_liberties(True) == read_liberties("all") == ALL and not read_liberties(False) and not read_liberties("")
    assert read_liberties("no-nans, no-infs") == {"no-nans", "no-infs"}
    with pytest.raises(UsageError, match=r"no liberty 'no-nan'.*did you mean 'no-nans'"):
        read_liberties("no-nan")


def test_rules_of_a_users_own_ask_too():
    @rule(op.Sqrt(op.Mul("x", "x")))
    def root_of_square(x, fast: Granted):
        fast.take({"reassociate", "no-infs"})
        return op.Abs(x)

    text = "g (float[n] x) => (float[n] y) { s = Mul(x, x) y = Sqrt(s) }"
    for granted, ops in ((frozenset(), ["Mul", "Sqrt"]), (ALL, ["Abs"])):
        graph, context = load(parse(text)), PassContext(liberties=granted)
        apply_rules(graph, context, [root_of_square])
        assert [node.op for node in graph] == ops
    assert context.journal.rewrites[0].liberties == ("no-infs", "reassociate")
    assert context.journal.liberties_taken()["no-infs", "", "root-of-square"] == 1
