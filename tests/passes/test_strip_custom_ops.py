"""`strip-custom-ops`: custom operators go where that keeps types and interface."""

import onnx
import pytest

from onnx_opt.errors import OnnxOptError
from onnx_opt.ir import to_bytes
from onnx_text import describe, parse, run

HEADER = '<ir_version: 8, opset_import: ["" : 17, "devtech" : 1, "other" : 1]>\n'
MODEL = (
    HEADER
    + """g (float[N,2] x) => (float[N,2] y) <float[N,2] a, float[N,2] b> {
    a = devtech.FooOp (x)
    b = Relu (a)
    y = devtech.FooOp <mode: int = 1> (b)
}"""
)


def strip(model: str, *ops: str) -> str:
    graph, _ = run(model, f"strip-custom-ops{{ops=[{','.join(chr(34) + op + chr(34) for op in ops)}]}}")
    result = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(result)
    return describe(result)


@pytest.mark.parametrize("pattern", ["devtech::FooOp", "devtech::*", "dev*::Foo??"])
def test_removed_everywhere_and_the_output_keeps_its_name(pattern):
    assert strip(MODEL, pattern) == describe(parse("g (float[N,2] x) => (float[N,2] y) { y = Relu (x) }"))


def test_others_stay():
    model = MODEL.replace("b = Relu", "b = other.Bar")
    assert "other::Bar" in strip(model, "devtech::FooOp")


def test_replaced_by_a_standard_operator():
    wanted = "g (float[N,2] x) => (float[N,2] y) { a = Identity (x) b = Relu (a) y = Identity (b) }"
    assert strip(MODEL, "devtech::FooOp=op:Identity") == describe(parse(wanted))


TWO = (
    HEADER
    + """g (float[N,2] x, float[N,2] z) => (float[N,2] y) <float[N,2] a> {
    a = devtech.Pick (x, z)
    y = Relu (a)
}"""
)


def test_which_of_two_operands_stays_is_said():
    assert strip(TWO, "devtech::Pick=input:1") == describe(
        parse("g (float[N,2] x, float[N,2] z) => (float[N,2] y) { y = Relu (z) }")
    )


@pytest.mark.parametrize(
    ("model", "op", "message"),
    [
        (TWO, "devtech::Pick", "has 2 data operands .*=input:0"),
        (TWO, "devtech::Pick=input:2", "no operand 2"),
        (MODEL, "devtech::Fooop", "did you mean 'devtech::FooOp'"),
        (MODEL, "FooOp", "write DOMAIN::OP"),
        (MODEL, "ai.onnx::Relu", "is a standard operator"),
        (MODEL.replace("float[N,2] a,", "float[N,3] a,"), "devtech::FooOp", "changes the shape"),
        (MODEL.replace("float[N,2] a,", "int64[N,2] a,"), "devtech::FooOp", "changes the element type"),
        (MODEL.replace("<float[N,2] a, float[N,2] b>", ""), "devtech::FooOp", "does not state the type .*=input:0"),
        (MODEL, "devtech::FooOp=op:NoSuch", "no operator NoSuch"),
    ],
)
def test_refused(model, op, message):
    with pytest.raises(OnnxOptError, match=message):
        strip(model, op)
