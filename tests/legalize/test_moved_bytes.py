"""Unsigned bytes that are moved: TensorRT has them at inputs and outputs alone."""

from onnx_text import expect, expect_unchanged

LEGALIZE = "legalize"


def test_bytes_of_an_input_are_cast_before_they_move():
    expect(
        """g (uint8[2,3] x) => (float[3,2] y) { t = Transpose <perm=[1,0]> (x) y = Cast <to=1> (t) }""",
        """g (uint8[2,3] x) => (float[3,2] y) { c = Cast <to=1> (x) y = Transpose <perm=[1,0]> (c) }""",
        LEGALIZE,
        target="tensorrt",
    )


def test_several_moves_in_a_row():
    expect(
        """g (uint8[2,3] x) => (int32[1,2] y) <int64[1] i = {1}, int64[1] a = {0}, int64[1] e = {2}> {
            t = Transpose <perm=[1,0]> (x)
            s = Slice (t, i, e, a)
            y = Cast <to=6> (s)
        }""",
        """g (uint8[2,3] x) => (int32[1,2] y) <int64[1] i = {1}, int64[1] a = {0}, int64[1] e = {2}> {
            c = Cast <to=6> (x)
            t = Transpose <perm=[1,0]> (c)
            y = Slice (t, i, e, a)
        }""",
        LEGALIZE,
        target="tensorrt",
    )


def test_bytes_of_a_quantizer_stay_in_float():
    """The cast to bytes and the one back meet, and both go."""
    expect(
        """g (float[2,3] x) => (float[3,2] y) <float s = {0.5}, uint8 z = {3}> {
            q = QuantizeLinear (x, s, z)
            t = Transpose <perm=[1,0]> (q)
            y = DequantizeLinear (t, s, z)
        }""",
        """g (float[2,3] x) => (float[3,2] y) <float s = {0.5}, float z = {3}, float l = {0}, float h = {255}> {
            a = Div (x, s)
            b = Round (a)
            c = Add (b, z)
            d = Clip (c, l, h)
            t = Transpose <perm=[1,0]> (d)
            e = Sub (t, z)
            y = Mul (e, s)
        }""",
        LEGALIZE,
        target="tensorrt",
    )


def test_other_types_and_other_targets_are_left_alone():
    signed = "g (int8[2,3] x) => (float[3,2] y) { t = Transpose <perm=[1,0]> (x) y = Cast <to=1> (t) }"
    expect_unchanged(signed, LEGALIZE, target="tensorrt")
    expect_unchanged(signed.replace("int8", "uint8"), LEGALIZE)


def test_bytes_that_are_an_output_too_stay_there():
    expect_unchanged(
        "g (uint8[2,3] x) => (uint8[3,2] t) { t = Transpose <perm=[1,0]> (x) }", LEGALIZE, target="tensorrt"
    )
