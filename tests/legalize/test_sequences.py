"""Sequences and optionals whose elements are known are taken apart."""

import pytest

from onnx_opt.ir import to_bytes
from onnx_opt.validate import Reference, prove
from onnx_text import expect, expect_unchanged, parse, reasons, run

LEGALIZE = "legalize"


def check(before, after):
    expect(before, after, LEGALIZE, target="tensorrt", exact=True)


def test_an_element_of_a_sequence_that_is_written_out():
    check(
        """g (float[2] a, float[3] b) => (float[M] y) <int64 i = {-1}> {
            s = SequenceConstruct (a, b)
            e = SequenceAt (s, i)
            y = Relu (e)
        }""",
        "g (float[2] a, float[3] b) => (float[M] y) { y = Relu (b) }",
    )


def test_sequences_that_are_joined():
    check(
        """g (float[2,3] a, float[2,1] b) => (float[M,K] y) {
            s = SequenceConstruct (a, b)
            y = ConcatFromSequence <axis = 1> (s)
        }""",
        "g (float[2,3] a, float[2,1] b) => (float[M,K] y) { y = Concat <axis = 1> (a, b) }",
    )


def test_sequences_that_are_stacked():
    check(
        """g (float[2,3] a, float[2,3] b) => (float[M,K,L] y) {
            s = SequenceConstruct (a, b)
            y = ConcatFromSequence <axis = -1, new_axis = 1> (s)
        }""",
        """g (float[2,3] a, float[2,3] b) => (float[M,K,L] y) <int64[1] l = {-1}> {
            c = Unsqueeze (a, l)
            d = Unsqueeze (b, l)
            y = Concat <axis = -1> (c, d)
        }""",
    )


def test_elements_that_are_inserted_and_erased():
    check(
        """g (float[2] a, float[3] b, float[4] c) => (float[M] y, int64 n) <int64 zero = {0}, int64 last = {-1}> {
            s = SequenceEmpty ()
            t = SequenceInsert (s, a)
            u = SequenceInsert (t, b, zero)
            v = SequenceInsert (u, c, last)
            w = SequenceErase (v, last)
            e = SequenceAt (w, last)
            y = Relu (e)
            n = SequenceLength (w)
        }""",
        """g (float[2] a, float[3] b, float[4] c) => (float[M] y, int64 n) <int64 two = {2}> {
            y = Relu (c)
            n = Identity (two)
        }""",
    )


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize(("split", "count"), [("int64 s = {2}", 3), ("int64[3] s = {1, 0, 4}", 3)])
def test_parts_of_a_tensor(opset, split, count):
    text = f"""<ir_version: 7, opset_import: ["" : {opset}]>
        g (float[N,5] x) => (float[N,K] y) <int64 i = {{1}}, int64 j = {{-1}}, {split}> {{
            q = SplitToSequence <axis = 1> (x, s)
            a = SequenceAt (q, i)
            b = SequenceAt (q, j)
            y = Concat <axis = 1> (a, b)
        }}"""
    source = parse(text)
    graph, _ = run(source, LEGALIZE, "tensorrt")
    assert [node.op for node in graph] == ["Split", "Concat"]
    assert len(graph.head.outputs) == count
    assert prove(Reference(source.SerializeToString()), to_bytes(graph), exact=True).status == "proven"


def test_slices_of_one_without_their_axis():
    check(
        """g (float[2,N] x) => (float[M] y) <int64 i = {1}> {
            q = SplitToSequence <axis = 0, keepdims = 0> (x)
            y = SequenceAt (q, i)
        }""",
        """g (float[2,N] x) => (float[M] y) <int64[2] s = {1, 1}, int64[1] z = {0}> {
            a, b = Split <axis = 0> (x, s)
            y = Squeeze (b, z)
        }""",
    )


def test_a_sequence_from_outside_of_a_branch():
    source = parse(
        """g (bool c, float[2] a, float[2] b) => (float[2] y) <int64 i = {1}> {
            s = SequenceConstruct (a, b)
            y = If (c) <
                then_branch = t () => (float[2] p) { p = SequenceAt (s, i) },
                else_branch = e () => (float[2] q) { q = Neg (a) }
            >
        }"""
    )
    graph, _ = run(source, LEGALIZE, "tensorrt")
    assert [node.op for node in graph] == ["If"]
    assert prove(Reference(source.SerializeToString()), to_bytes(graph), exact=True).status == "proven"


def test_optionals():
    check(
        """<ir_version: 8, opset_import: ["" : 18]>
        g (float[2] a) => (float[2] y, bool h) {
            o = Optional (a)
            y = OptionalGetElement (o)
            h = OptionalHasElement (o)
        }""",
        """<ir_version: 8, opset_import: ["" : 18]>
        g (float[2] a) => (float[2] y, bool h) <bool t = {1}> { y = Identity (a) h = Identity (t) }""",
    )


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2] a, float[3] b, int64 i) => (float[M] y) { s = SequenceConstruct (a, b) y = SequenceAt (s, i) }",
        """g (float[N] a) => (float[M] y) <int64 i = {1}, int64 s = {2}> {
            q = SplitToSequence (a, s) y = SequenceAt (q, i) }""",
    ],
)
def test_what_is_only_known_when_the_model_runs_stays(text):
    expect_unchanged(text, LEGALIZE, "not known", target="tensorrt")


def test_a_position_outside_of_the_sequence_is_left_to_fail():
    text = "g (float[2] a) => (float[M] y) <int64 i = {1}> { s = SequenceConstruct (a) y = SequenceAt (s, i) }"
    _, context = run(text, LEGALIZE, "tensorrt")
    assert any("not known" in reason for reason in reasons(context))
