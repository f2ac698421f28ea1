"""The harness: the installed rules hold before it, and rules that are wrong do not."""

import types

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnx_opt import traits
from onnx_opt.errors import UsageError
from onnx_opt.harness import find_rules, sampler, verify
from onnx_opt.harness.runtime import Refused, run_model
from onnx_opt.harness.samplers import registry
from onnx_opt.harness.text import describe, summary
from onnx_opt.harness.verify import make_instance
from onnx_opt.rewrite import anyof, const, domain, driver, op, opt, require, rest, rule
from onnx_opt.worker import shared
from onnx_opt_rules.tables.noops import NOOPS

RULES = find_rules()


@pytest.mark.parametrize("name", RULES)
def test_rule_holds(name):
    report = verify(RULES[name], instances=30)
    assert report.passed, "\n".join(map(describe, report.failures))


@pytest.mark.parametrize("name", sorted(set(NOOPS) - {"Identity"}))
def test_no_ops_of_the_table_do_nothing(name):
    """The rows of the table as rules: whatever is said to be the identity gives its operand back to the bit."""

    @rule(op[name](rest("operands")), shared=True, exact=True)
    def bypass(root):
        index = traits.identity_operand(root)
        require(index is not None, "it does something")
        return root.inputs[index]

    report = verify(bypass, instances=12, seed=100)
    wrong = [failure for failure in report.failures if failure.kind != "no instances"]
    assert not wrong, "\n".join(map(describe, wrong))


# -- wrong rules are found ---------------------------------------------------------------------------------------------


def fails(rule, reason, instances=60):
    """`rule` has a failure for this reason; the failure."""
    report = verify(rule, instances=instances)
    found = [failure for failure in report.failures if reason in failure.reason]
    assert found, [failure.reason for failure in report.failures] or summary(report)
    return found[0]


def test_wrong_value():
    @rule(op.Neg(op.Neg("x")))
    def twice_is_once(x):
        return op.Neg(x)

    failure = fails(twice_is_once, "elements")
    assert failure.model and failure.result and failure.target == "portable"


def test_wrong_value_in_one_element():
    # As a scale per channel, where it is one per column and the sizes match by chance.
    @rule(op.Mul(op.Conv("x", const("w")).named("conv"), const("c")))
    def scale_by_size(x, w, c, conv):
        require(c.size == w.shape[0] and c.ndim <= w.ndim, "another size")
        return op.Conv(x, (w * c.reshape(-1, *[1] * (w.ndim - 1))).astype(w.dtype), **conv.attrs)

    fails(scale_by_size, "elements", instances=200)


def test_wrong_element_type():
    @rule(op.Relu("x"))
    def quantized(x):
        return domain("com.microsoft").QuantizeLinear(x, np.float32(1), np.uint8(0))

    fails(quantized, "type", instances=30)


def test_element_type_that_the_driver_refuses():
    @rule(op.Relu("x"))
    def doubled(x):
        return op.Cast(op.Relu(x), to=TensorProto.UINT8)

    fails(doubled, "rule without instances")


def test_wrong_shape():
    @rule(op.Expand("x", "shape"))
    def never_widens(x, shape):
        require(shape.constant is None and shape.content is None, "known")
        return x

    fails(never_widens, "shape differs")


def test_wrong_at_one_dynamic_size():
    @rule(op.Neg(op.Neg("x")), opsets=(9, 22))
    def wrong_for_batches_of_one(x):
        require(x.dims and not isinstance(x.dims[0], int) and x.elem_type == TensorProto.FLOAT, "static")
        batch = op.Gather(op.Shape(x), np.int64(0))
        return op.Mul(x, op.Cast(op.Greater(batch, np.int64(1)), to=TensorProto.FLOAT))

    failure = fails(wrong_for_batches_of_one, "elements")
    assert "[1" in failure.reason


def test_wrong_for_nan_only():
    @rule(op.Equal("x", "x"))
    def every_number_equals_itself(x):
        require(x.elem_type == TensorProto.FLOAT, "other types")
        return op.Not(op.Less(x, x))

    fails(every_number_equals_itself, "elements")


def test_wrong_for_shared_interior_only():
    @rule(op.Neg(op.Neg("x").named("inner")), shared=True)
    def forgets_other_users(x, inner):
        return x if len(inner.outputs[0].uses) == 1 else op.Neg(x)

    assert fails(forgets_other_users, "elements").note.startswith(("extra user", "interior is output"))


def test_wrong_for_signed_zeros_only():
    @rule(op.Neg(op.Neg("x")), exact=True)
    def minus_zero(x):
        require(x.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE), "other types")
        zero = np.zeros((), np.float32 if x.elem_type == TensorProto.FLOAT else np.float64)
        return op.Add(x, zero)

    fails(minus_zero, "not equal to the bit")


def test_rounding_in_an_exact_rule():
    @rule(op.Add(op.Add("x", const("c")), const("d")), exact=True)
    def sum_of_constants(x, c, d):
        require(c.dtype == np.float32, "other types")
        return op.Add(x, c + d)

    fails(sum_of_constants, "not equal to the bit")


def test_wrong_for_one_target_only():
    @rule(op.Neg(op.Neg("x")))
    def wrong_for_onnxruntime(x, target):
        return op.Abs(x) if target.name == "ort-cpu" else x

    assert fails(wrong_for_onnxruntime, "elements").target == "ort-cpu"


def test_constant_that_callers_may_feed():
    @rule(op.Mul("x", "c"))
    def trusts_defaults(x, c, graph):
        require(hasattr(c, "values") and c.is_graph_input, "no default")
        return op.Mul(x, np.array(c.values))

    fails(trusts_defaults, "elements", instances=200)


def test_rule_that_changes_the_graph_itself():
    @rule(op.Relu(op.LeakyRelu("x").named("inner")))
    def impure(x, inner):
        inner.set_attr("alpha", 0.9)

    fails(impure, "the model is another")


def test_rule_that_raises():
    @rule(op.Relu("x"))
    def careless(x):
        return x.dims[7]

    fails(careless, "the rule fails: IndexError")


@pytest.mark.parametrize(
    ("guard", "reason"), [("_check_interior", "not declared shared"), ("_in_range", "operator set versions")]
)
def test_driver_that_forgets_a_guard(monkeypatch, guard, reason):
    monkeypatch.setattr(driver, guard, lambda *_: True)

    @rule(op.Neg(op.Neg("x")), opsets=(11, 15))
    def fine(x):
        return x

    fails(fine, reason)


def test_rule_that_feeds_itself():
    @rule(op.Relu("x"))
    def endless(x):
        return op.Relu(x)

    fails(endless, "feeds itself", instances=4)


def test_invalid_replacement():
    @rule(op.Relu("x"))
    def no_such_operator(x):
        return op.Transpose(x, perm=[0, 1, 2, 3, 4, 5, 6])

    assert not verify(no_such_operator, instances=20).passed


# -- rules without instances -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [op.NoSuchOperator("x"), op.Relu("x", "y"), op.Add("x"), op.Relu("x", axis=1), op.Add(op.Shape("x"), op.Not("y"))],
    ids=["unknown operator", "too many operands", "too few operands", "unknown attribute", "types"],
)
def test_pattern_that_has_no_instances(pattern):
    @rule(pattern)
    def impossible():
        return None

    report = verify(impossible, instances=10)
    assert report.instances == 0
    assert "rule without instances: no model with its pattern" in report.failures[0].reason


def test_rule_that_never_applies():
    @rule(op.Relu("x"))
    def reluctant(x):
        require(False, "not in the mood")

    (failure,) = verify(reluctant, instances=10).failures
    assert "rule without instances" in failure.reason and "not in the mood" in failure.reason


# -- right rules pass --------------------------------------------------------------------------------------------------


def test_numbers_that_a_rule_wants_are_found():
    @rule(op.Mul(op.Mul("x", op.Add(op.Erf(op.Div("x", const("root"))), const("one"))), const("half")), opsets=(20, 22))
    def gelu(x, root, one, half):
        for constant, number, name in ((root, 2**0.5, "root"), (one, 1, "one"), (half, 0.5, "half")):
            require(constant.size == 1 and constant.ndim == 0, f"{name} is no number")
            require(abs(constant.item() - number) < 1e-3, f"{name} is another number")
        return op.Gelu(x)

    report = verify(gelu, instances=30)
    assert report.passed and report.matched > 5, summary(report)


@pytest.mark.parametrize(
    "pattern",
    [
        op.MatMul(op.Softmax(op.Add(op.Mul(op.MatMul("q", op.Transpose("k")), const("scale")), "mask")), "v"),
        op.Add(op.Conv("x", const("v"), opt(const("b"))), op.Conv("x", const("w"), opt(const("d")))),
        op.Concat(op.Split("x", axis="a").named("s")[0], op.Split("x", axis="a").named("s")[1], axis="a"),
        op.Reshape(
            "x", op.Concat(op.Unsqueeze(op.Gather(op.Shape("x"), const("i")), rest("axes")), const("j"), axis=0)
        ),
        op.DequantizeLinear(op.QuantizeLinear("x", const("s"), const("z")), const("s"), const("z")),
        op.Reshape(op.Transpose(op.Reshape("x", const("s")), perm=[0, 2, 1, 3, 4]), const("t")),
        op.Div(op.Sub("x", op.ReduceMean("x", keepdims=1)), op.Sqrt(op.Add("v", const("epsilon")))),
        op.Where(op.Equal("x", const("c")), const("y"), "x"),
        anyof(op.MaxPool(op.Pad("x", rest("r"))), op.GlobalAveragePool(op.Relu("x"))),
        op.LSTM("x", const("w"), const("r"), opt("b")),
        op.Resize("x", opt("roi"), opt("scales")),
        op.Sum(rest("terms")),
    ],
    ids=lambda pattern: "",
)
def test_pattern_has_instances(pattern):
    @rule(pattern)
    def declines():
        require(False, "matched")

    report = verify(declines, instances=12)
    assert report.instances == 12 and report.declines["matched"] > 3, summary(report)


def test_several_results():
    @rule(op.Split("x", const("lengths"), axis="a").named("split"), exact=True, opsets=(13, 22))
    def split_by_slices(x, lengths, a, split):
        require(len(split.outputs) == 2 == lengths.size, "another number of results")
        whole, ends = np.array([a]), np.cumsum(lengths)
        return op.Slice(x, np.array([0]), ends[:1], whole), op.Slice(x, ends[:1], ends[1:], whole)

    report = verify(split_by_slices)
    assert report.passed and report.matched, summary(report)


# -- the same seed gives the same --------------------------------------------------------------------------------------


def test_seeds():
    @rule(op.Add("x", "y"))
    def some(x, y):
        return None

    first, second = make_instance(some, 2), make_instance(some, 2)
    assert first.model == second.model
    assert all(
        a[name].tobytes() == b[name].tobytes() for a, b in zip(first.feeds, second.feeds, strict=True) for name in a
    )
    assert make_instance(some, 4).model != first.model


def test_failure_is_reproduced_by_its_seed():
    @rule(op.Neg(op.Neg("x")))
    def wrong(x):
        return op.Neg(x)

    failure = fails(wrong, "elements")
    again = verify(wrong, seed=failure.seed, instances=1).failures[0]
    assert (again.model, again.result) == (failure.model, failure.result)
    text = describe(failure)
    assert f"seed {failure.seed}" in text and "-- before" in text and "-- after" in text
    assert "FAILED" in summary(verify(wrong, instances=4))


# -- parts -------------------------------------------------------------------------------------------------------------


def test_rules_are_found_in_given_modules():
    module = types.ModuleType("some_rules")

    @rule(op.Relu("x"))
    def listed(x):
        return None

    module.LISTED = [listed]
    assert find_rules([module]) == {"listed": listed}
    assert "fold-batch-normalization" in RULES
    other = types.ModuleType("other_rules")

    @rule(op.Relu("x"))
    def listed(x):
        return None

    other.same_name = listed
    with pytest.raises(UsageError, match="two rules are called 'listed'"):
        find_rules([module, other])
    with pytest.raises(UsageError, match="cannot load"):
        find_rules(["no_such_package"])


def test_sampler_of_another_package(monkeypatch):
    monkeypatch.setattr(registry, "_samplers", dict(registry._samplers))

    @sampler("QuickGelu", domain="com.microsoft")
    def quick_gelu(site):
        site.operand(0, (2, 5), elem_type=TensorProto.FLOAT)

    @rule(domain("com.microsoft").QuickGelu("x"))
    def sampled(x):
        require(x.dims is None or x.dims[-1] == 5 or not isinstance(x.dims[-1], int), "other dims")
        return op.Relu(x)

    fails(sampled, "elements")


def test_process_that_ends_is_replaced():
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [value("x", 1, [1])], [value("y", 1, [1])]
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    feed = {"x": np.ones(1, np.float32)}
    assert run_model(model, [feed])[0][0] == [-1]
    shared().kill()
    assert run_model(model, [feed])[0][0] == [-1]
    with pytest.raises(Refused):
        run_model(model, [{"x": np.ones(2, np.float32)}])
    with pytest.raises(Refused):
        run_model(b"no model", [feed])
