"""The rewrite engine: what patterns match, what the driver guarantees for every rule."""

import numpy as np
import onnx
import pytest

from onnx_opt.ir import load, to_bytes
from onnx_opt.passes import PassContext
from onnx_opt.rewrite import anyof, apply_rules, const, domain, op, opt, require, rest, rule
from onnx_text import describe, parse, reasons


def apply(text: str, *rules, context: PassContext | None = None) -> str:
    """The main graph after the rules, in canonical form."""
    graph = load(parse(text))
    apply_rules(graph, context or PassContext(), rules)
    return describe(onnx.ModelProto.FromString(to_bytes(graph)))


def becomes(before: str, after: str, *rules) -> None:
    assert apply(before, *rules) == describe(parse(after))


def stays(text: str, *rules, because: str = "") -> None:
    context = PassContext()
    assert apply(text, *rules, context=context) == describe(parse(text))
    assert not because or any(because in reason for reason in reasons(context)), reasons(context)


@rule(op.Transpose(op.Transpose("x", perm="p"), perm="q"), shared=True)
def merge_transposes(x, p, q):
    """Two transposes in a row are one."""
    perm = [p[axis] for axis in q]
    return x if perm == sorted(perm) else op.Transpose(x, perm=perm)


def test_a_rule_and_its_fixpoint():
    becomes(
        """g (float[2,3,4] x) => (float[3,2,4] y) {
            a = Transpose <perm = [1, 2, 0]> (x)
            b = Transpose <perm = [1, 2, 0]> (a)
            c = Transpose <perm = [1, 2, 0]> (b)
            d = Transpose <perm = [1, 0, 2]> (c)
            y = Relu (d)
        }""",
        "g (float[2,3,4] x) => (float[3,2,4] y) { a = Transpose <perm = [1, 0, 2]> (x) y = Relu (a) }",
        merge_transposes,
    )


def test_shared_interior_stays_for_its_other_users():
    becomes(
        """g (float[2,3] x) => (float[2,3] y, float[3,2] a) {
            a = Transpose <perm = [1, 0]> (x)
            b = Transpose <perm = [1, 0]> (a)
            y = Relu (b)
        }""",
        "g (float[2,3] x) => (float[2,3] y, float[3,2] a) { a = Transpose <perm = [1, 0]> (x) y = Relu (x) }",
        merge_transposes,
    )


@rule(op.Mul(op.Neg("x"), const("c")))
def negate_constant(x, c):
    """Mul(Neg(x), c) is Mul(x, -c)."""
    require(c.size == 1, "not a scalar")
    return op.Mul(x, -c)


@pytest.mark.parametrize("operands", ["a, c", "c, a"])
def test_commutative_operands_match_in_either_order(operands):
    becomes(
        f"g (float[2] x) => (float[2] y) <float c = {{3}}> {{ a = Neg (x) y = Mul ({operands}) }}",
        "g (float[2] x) => (float[2] y) <float c = {-3}> { y = Mul (x, c) }",
        negate_constant,
    )


def test_operands_of_other_operators_do_not():
    @rule(op.Sub(op.Neg("x"), const("c")))
    def never(x, c):
        """Not reached."""
        raise AssertionError

    stays("g (float[2] x) => (float[2] y) <float c = {3}> { a = Neg (x) y = Sub (c, a) }", never)


@pytest.mark.parametrize(
    ("outputs", "more", "because"),
    [
        ("float[2] y, float[2] a", "", "is a graph output"),
        ("float[2] y, float[2] z", "z = Exp (a)", "has other users"),
    ],
)
def test_unshared_interior(outputs, more, because):
    text = f"g (float[2] x) => ({outputs}) <float c = {{3}}> {{ a = Neg (x) y = Mul (a, c) {more} }}"
    stays(text, negate_constant, because=because)


def test_declines_keep_the_reason_of_the_rule():
    stays(
        "g (float[2] x) => (float[2] y) <float[2] c = {3, 4}> { a = Neg (x) y = Mul (a, c) }",
        negate_constant,
        because="not a scalar",
    )


def test_interior_outside_of_the_subgraph_is_not_touched():
    text = """g (float[2] x, bool b) => (float[2] y) <float c = {3}> {
        a = Neg (x)
        y = If (b) <
            then_branch = t () => (float[2] p) { p = Mul (a, c) },
            else_branch = e () => (float[2] q) { q = Exp (x) }
        >
    }"""
    stays(text, negate_constant, because="outside of the subgraph")


def test_rules_work_inside_subgraphs():
    text = """g (float[2] x, bool b) => (float[2] y) <float c = {3}> {
        y = If (b) <
            then_branch = t () => (float[2] p) { a = Neg (x) p = Mul (a, c) },
            else_branch = e () => (float[2] q) { q = Exp (x) }
        >
    }"""
    graph = load(parse(text))
    assert apply_rules(graph, PassContext(), [negate_constant]) == 1
    model = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(model)
    branch = next(a.g for a in model.graph.node[0].attribute if a.name == "then_branch")
    assert [node.op_type for node in branch.node] == ["Mul"]


def test_optional_variadic_and_alternative_operands():
    seen = []

    @rule(op.Concat("first", rest("others"), axis=0))
    def look_at_concat(first, others):
        """Record what was found."""
        seen.append((first.name, [value.name for value in others]))

    @rule(op.Clip(anyof(op.Relu("x"), op.Exp("x")), opt(const("low")), opt("high")))
    def look_at_clip(x, low, high):
        """Record what was found."""
        seen.append((x.name, None if low is None else low.item(), None if high is None else high.name))

    apply(
        """g (float[2] x, float h) => (float[6] y) <float one = {1}> {
            a = Relu (x)
            b = Exp (x)
            p = Clip (a, one)
            q = Clip (b, , h)
            y = Concat <axis: int = 0> (p, q, x)
        }""",
        look_at_concat,
        look_at_clip,
    )
    assert seen == [("x", 1.0, None), ("x", None, "h"), ("p", ["q", "x"])]


def test_attribute_defaults_are_those_of_the_operator_version():
    seen = []

    @rule(op.Softmax("x", axis="axis"))
    def look(x, axis):
        """Record the axis."""
        seen.append(axis)

    for version in (11, 13):
        apply(
            f'<ir_version: 7, opset_import: ["" : {version}]> g (float[2,3] x) => (float[2,3] y) {{ y = Softmax (x) }}',
            look,
        )
    assert seen == [1, -1]


def test_several_results():
    @rule(op.Split("x", "sizes", axis="axis").named("split"))
    def swap(x, sizes, axis, split):
        """Split and give the halves the other way round."""
        halves = op.Split(x, sizes, axis=axis).returning(2)
        return (op.Identity(halves[1]), op.Identity(halves[0])) if x.name == "x" and not split.name else None

    result = apply(
        "g (float[4] x) => (float[2] y, float[2] z) <int64[2] s = {2, 2}> { a, b = Split (x, s) y = Neg (a) z = Exp (b) }",
        swap,
    )
    assert result.count("Split") == 1
    assert result.count("Identity") == 2


def test_a_rule_may_not_change_type_or_shape():
    @rule(op.Relu("x"))
    def to_double(x):
        """Wrong."""
        return op.Cast(x, to=11)

    @rule(op.Relu("x"))
    def to_row(x):
        """Wrong."""
        return op.Reshape(x, np.array([1, 2]))

    text = "g (float[2] x) => (float[2] y) { a = Relu (x) y = Neg (a) }"
    stays(text, to_double, because="would change")
    stays(text, to_row, because="would change")


def test_a_rule_that_fails_half_way_leaves_no_trace():
    @rule(op.Relu("x"))
    def bad(x):
        """Refers to a domain with no known version, then fails on the type."""
        return op.Cast(op.Add(op.Exp(x), np.ones(2, np.float32)), to=11)

    graph = load(parse("g (float[2] x) => (float[2] y) { y = Relu (x) }"))
    before = to_bytes(graph)
    apply_rules(graph, PassContext(), [bad])
    assert to_bytes(graph) == before


def test_rules_that_undo_each_other_come_to_an_end():
    @rule(op.Relu("x"))
    def there(x):
        """Relu to Abs."""
        return op.Abs(x)

    @rule(op.Abs("x"))
    def back(x):
        """Abs to Relu."""
        return op.Relu(x)

    context = PassContext()
    apply("g (float[2] x) => (float[2] y) { y = Relu (x) }", there, back, context=context)
    assert any("undo each other" in reason for reason in reasons(context))


def test_a_new_domain_is_imported():
    @rule(op.Relu("x"))
    def vendor(x):
        """Relu to a vendor's operator."""
        return domain("com.microsoft").QuickGelu(x)

    result = load(parse("g (float[2] x) => (float[2] y) { y = Relu (x) }"))
    apply_rules(result, PassContext(), [vendor])
    model = onnx.ModelProto.FromString(to_bytes(result))
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 17, "com.microsoft": 1}


def test_origin_names_the_source_nodes_and_the_rules():
    model = parse("""g (float[2,3,4] x) => (float[A,B,C] y) {
        a = Transpose <perm = [1, 2, 0]> (x)
        b = Transpose <perm = [1, 2, 0]> (a)
        y = Transpose <perm = [1, 0, 2]> (b)
    }""")
    for number, node in enumerate(model.graph.node):
        node.name = f"t{number}"
    graph = load(model)
    apply_rules(graph, PassContext(), [merge_transposes])
    (last,) = graph
    assert sorted(last.origin.names()) == ["t0", "t1", "t2"]
    assert last.origin.rules() == ["merge-transposes"]


def test_unknown_parameters_fail_when_the_rule_is_written():
    with pytest.raises(TypeError, match="not \\['z'\\]"):

        @rule(op.Add("x", "y"))
        def wrong(x, z):
            """Never made."""


def test_attributes_of_local_functions_decline():
    text = """<ir_version: 8, opset_import: ["" : 17, "f" : 1]>
        g (float[2,3] x) => (float[2,3] y) { y = f.Twice <order: ints = [1, 0]> (x) }
        <domain: "f", opset_import: ["" : 17]> Twice <order> (v) => (u) {
            a = Transpose <perm: ints = @order> (v)
            u = Transpose <perm: ints = @order> (a)
        }"""
    context = PassContext()
    graph = load(parse(text))
    assert apply_rules(graph, context, [merge_transposes]) == 0
    assert any("call of the local function" in reason for reason in reasons(context))
