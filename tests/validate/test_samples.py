"""Random feeds: the sizes at which a model runs are found, and the values suit its inputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnx_opt.errors import UsageError
from onnx_opt.validate import Reference
from onnx_opt.validate.signature import parse_type
from onnx_opt.validate.sizes import numbers_in


def test_independent_symbols_are_tested_at_different_sizes(model):
    reference = Reference(model("g (float[N, L] x) => (float[N, L] y) { y = Relu(x) }"))
    assert any(record.sizes["N"] != record.sizes["L"] for record in reference.records)
    sizes = reference.tested_sizes()
    assert len(sizes["N"]) >= 4
    assert len(sizes["L"]) >= 4
    assert 1 in sizes["N"]
    assert max(sizes["L"]) >= 48


def test_a_shared_symbol_has_one_size(model):
    reference = Reference(model("g (float[N] a, float[N] b) => (float[N] y) { y = Add(a, b) }"))
    assert len(reference.tested_sizes()["N"]) >= 4
    assert all(record.feed["a"].shape == record.feed["b"].shape for record in reference.records)


def test_unnamed_dims_that_must_agree_are_found(model):
    reference = Reference(model("g (float[?, 3] a, float[?, 3] b) => (float[?, 6] y) { y = Concat <axis=1> (a, b) }"))
    sizes = reference.tested_sizes()
    assert sizes["a[0]"] == sizes["b[0]"]
    assert len(sizes["a[0]"]) >= 3


def test_a_symbol_that_is_another_plus_one(model):
    text = """g (float[N, P] past, float[N, 1] new, float[N, T] mask) => (float[N, T] y) {
        all = Concat <axis=1> (past, new)
        y = Add(all, mask)
    }"""
    reference = Reference(model(text))
    assert reference.records, reference.problem
    assert all(record.sizes["T"] == record.sizes["P"] + 1 for record in reference.records if record.sizes["T"] > 1)
    assert len(reference.tested_sizes()["P"]) >= 2


def test_a_dim_named_by_an_expression_is_computed(model):
    reference = Reference(_with_expression(model))
    assert reference.records
    assert all(r.feed["b"].shape[1] == r.feed["a"].shape[1] + 1 for r in reference.records)
    assert "past + 1" not in reference.tested_sizes()


def _with_expression(model) -> bytes:
    """ONNX text has no expressions in dims, exporters do."""
    proto = onnx.ModelProto.FromString(
        model("g (float[N, past] a, float[N, other] b) => (float[N, both] y) { y = Concat <axis=1> (a, b) }")
    )
    proto.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "past + 1"
    return proto.SerializeToString()


def test_images_that_must_be_multiples_of_32(model):
    text = """g (float[N, 1, H, W] x) => (float[N, 1, H, W] y) {
        deep = SpaceToDepth <blocksize = 32> (x)
        y = DepthToSpace <blocksize = 32> (deep)
    }"""
    reference = Reference(model(text))
    sizes = reference.tested_sizes()
    assert set(sizes["H"]) >= {32, 64}
    assert set(sizes["W"]) >= {32, 64}
    assert any(r.sizes["H"] != r.sizes["W"] for r in reference.records)


def test_a_size_that_is_baked_into_the_interior(model):
    text = """g (float[N, L] x) => (float[N, L] y) {
        shape = Constant <value = int64[2] {-1, 10}> ()
        y = Reshape(x, shape)
        z = Add(x, y)
    }"""
    reference = Reference(model(text))
    assert reference.tested_sizes()["L"] == [10]
    assert len(reference.tested_sizes()["N"]) >= 3


def test_a_size_that_only_a_refusal_names(model):
    w = np.ones((37, 2), np.float32)
    b = np.ones(2, np.float32)
    reference = Reference(model("g (float[N, K] x) => (float[N, 2] y) { y = Gemm(x, w, b) }", w=w, b=b))
    assert reference.tested_sizes()["K"] == [37]


def test_an_unknown_rank_is_found(model):
    text = "g (float[A, B] x) => (float[C] y) { y = Conv(x, w) }"
    proto = onnx.ModelProto.FromString(model(text, w=np.ones((1, 1, 1, 1), "f")))
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    reference = Reference(proto.SerializeToString())
    assert reference.records, reference.problem
    assert reference.records[0].feed["x"].ndim in (3, 4)


def test_dims_and_shapes_that_the_user_fixes_or_bounds(model):
    data = model("g (float[N, L] x) => (float[N, L] y) { y = Relu(x) }")
    assert Reference(data, dims={"N": 3}).tested_sizes()["N"] == [3]
    bounded = Reference(data, dims={"L": (10, 100)}).tested_sizes()["L"]
    assert bounded[0] == 10
    assert bounded[-1] == 100
    assert Reference(data, shapes={"x": [4, 9]}).tested_sizes() == {"L": [9], "N": [4]}
    with pytest.raises(UsageError, match="not 4x9x1"):
        _ = Reference(data, shapes={"x": [4, 9, 1]}).records


def test_no_way_to_run_is_a_reason_and_no_exception(model):
    text = "g (float[N] x) => (float[2] y, float[3] z) { y = Reshape(x, two) z = Reshape(x, three) }"
    reference = Reference(model(text, two=np.array([2]), three=np.array([3])))
    assert not reference.records
    assert "runs on none of" in reference.problem


def test_feeds_depend_on_the_seed_only(model):
    data = model("g (float[N] x, int64[N] i) => (float[N] y) { y = Gather(x, i) }")
    feeds = [[r.feed["x"].tobytes() for r in Reference(data, seed=seed).records] for seed in (1, 1, 2)]
    assert feeds[0] == feeds[1] != feeds[2]


def test_magnitudes_zeros_and_signs_all_occur(model):
    records = Reference(model("g (float[100] x) => (float[100] y) { y = Relu(x) }")).records
    everything = np.concatenate([record.feed["x"] for record in records])
    assert np.abs(everything[np.isfinite(everything)]).max() > 100
    assert np.isnan(everything).any() and np.isposinf(everything).any() and np.isneginf(everything).any()
    assert (everything == 0).any()
    assert np.signbit(everything[everything == 0]).any()
    assert any((record.feed["x"] <= 0).all() for record in records)
    assert any((record.feed["x"] >= 0).all() for record in records)


def test_indices_reach_the_end_of_what_they_index(model):
    table = np.arange(5000, dtype=np.float32)
    records = Reference(model("g (int64[N, L] ids) => (float[N, L] y) { y = Gather(t, ids) }", t=table)).records
    highest = max(int(record.feed["ids"].max()) for record in records)
    assert 2500 < highest < 5000


def test_integers_that_are_sizes_stay_small(model):
    records = Reference(model("g (int64[2] shape) => (float[A, B] y) { y = ConstantOfShape(shape) }")).records
    assert records
    assert max(int(record.feed["shape"].max()) for record in records) <= 3


def test_masks_are_ones_then_zeros(model):
    text = "g (int64[N, L] attention_mask) => (int64[N, L] y) { y = Identity(attention_mask) }"
    records = Reference(model(text)).records
    for record in records:
        mask = record.feed["attention_mask"]
        assert set(np.unique(mask)) <= {0, 1}
        assert (np.diff(mask, axis=1) <= 0).all()
        assert mask[:, 0].all()


def test_bytes_booleans_and_strings(model):
    text = """g (uint8[N] a, bool[N] b, string[N] c) => (uint8[N] x, bool[N] y, string[N] z) {
        x = Identity(a)
        y = Not(b)
        z = Identity(c)
    }"""
    records = Reference(model(text)).records
    assert max(int(record.feed["a"].max()) for record in records) > 200
    assert {bool(b) for record in records for b in record.feed["b"]} == {True, False}
    assert len({c for record in records for c in record.feed["c"]}) > 3


def test_sequences_optionals_and_maps(model):
    header = '<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 1]>\n'
    text = """g (seq(float[N]) s, optional(float[N]) o) => (float[N] y, bool b) {
        i = Constant <value = int64 {1}> ()
        y = SequenceAt(s, i)
        b = OptionalHasElement(o)
    }"""
    records = Reference(model(header + text)).records
    assert all(len(record.feed["s"]) > 1 for record in records)
    assert {record.feed["o"] is None for record in records} == {True, False}
    text = """g (map(int64, float) m) => (float[1, 4] y) {
        y = ai.onnx.ml.DictVectorizer <int64_vocabulary = [0, 1, 2, 3]> (m)
    }"""
    assert len(Reference(model(header + text)).records) > 3


def test_overridable_initializers_are_overridden_once(model):
    text = "g (float[N] x, float[1] bias = {2.5}) => (float[N] y) { y = Add(x, bias) }"
    records = Reference(model(text)).records
    overridden = [record for record in records if "bias" in record.feed]
    assert len(overridden) == 1
    assert overridden[0].feed["bias"] != 2.5
    assert len(records) > 4


def test_a_big_model_gets_few_feeds(model):
    data = model("g (float[N, 64] x) => (float[N, 64] y) { y = Relu(x) }")
    assert len(Reference(data, budget=0.0).records) == 3
    assert len(Reference(data).records) == 12
    assert len(Reference(data, samples=5).records) == 5
    assert not Reference(data, samples=0).records


def test_a_model_without_inputs_is_run_once(model):
    text = "g () => (float[3] y) { c = Constant <value = float[3] {1, 2, 3}> () y = Relu(c) }"
    assert len(Reference(model(text)).records) == 1


def test_types_are_read_as_onnx_runtime_spells_them():
    for text in ("tensor(float)", "seq(tensor(int64))", "map(string,tensor(float))", "optional(seq(tensor(bool)))"):
        assert str(parse_type(text)) == text


def test_sizes_are_read_from_refusals():
    assert numbers_in("axis 1 has dimensions 5 and 3; x_7 v1.5 0 1") == [3, 5]
