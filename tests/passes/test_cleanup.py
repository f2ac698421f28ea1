"""`cleanup`: dead code, no-ops and duplicates go; results stay equal to the bit."""

import pytest

from onnx_text import expect, expect_unchanged

CLEANUP = "cleanup"


def test_dead_nodes_initializers_and_functions():
    expect(
        """<ir_version: 8, opset_import: ["" : 17, "f" : 1]>
        g (float[2] x) => (float[2] y) <float[2] unused = {1, 2}, float[2] w = {1, 2}> {
            a = Add (x, w)
            b = Relu (a)
            y = Neg (x)
        }
        <domain: "f", opset_import: ["" : 17]> Idle (v) => (u) { u = Exp (v) }""",
        """<ir_version: 8, opset_import: ["" : 17, "f" : 1]>
        g (float[2] x) => (float[2] y) { y = Neg (x) }""",
        CLEANUP,
        exact=True,
    )


def test_what_a_subgraph_captures_is_alive():
    text = """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
        a = Relu (x)
        y = If (c) <
            then_branch = t () => (float[2] p) { p = Add (a, w) },
            else_branch = e () => (float[2] q) { q = Neg (x) }
        >
    }"""
    expect_unchanged(text, CLEANUP)


def test_what_only_a_dead_branch_captures_is_dead():
    expect(
        """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
            a = Relu (x)
            z = If (c) <
                then_branch = t () => (float[2] p) { p = Add (a, w) },
                else_branch = e () => (float[2] q) { q = Neg (x) }
            >
            y = Abs (x)
        }""",
        "g (float[2] x, bool c) => (float[2] y) { y = Abs (x) }",
        CLEANUP,
        exact=True,
    )


@pytest.mark.parametrize(
    "noop",
    [
        "a = Identity (x)",
        "a = Dropout (x)",
        "a = Cast <to: int = 1> (x)",
        "a = Transpose <perm = [0, 1, 2]> (x)",
        "a = Reshape (x, same)",
        "a = Concat <axis: int = 1> (x)",
        "a = Add (x, minus_zero)",
        "a = Sub (x, zero)",
        "a = Mul (one, x)",
        "a = Div (x, one)",
        "a = Pad (x, pads)",
        "a = Max (x)",
    ],
)
def test_noops(noop):
    initializers = """int64[3] same = {0, 2, 3}, float zero = {0}, float minus_zero = {-0.0}, float[1] one = {1},
        int64[6] pads = {0, 0, 0, 0, 0, 0}"""
    expect(
        f"g (float[N,2,3] x) => (float[N,2,3] y) <{initializers}> {{ {noop} y = Neg (a) }}",
        "g (float[N,2,3] x) => (float[N,2,3] y) { y = Neg (x) }",
        CLEANUP,
        exact=True,
    )


@pytest.mark.parametrize(
    ("kept", "result"),
    [
        ("a = Add (x, zero)", "float[N,2,1]"),  # -0.0 + 0.0 is 0.0
        ("a = Mul (x, wide)", "float[N,2,3]"),
        ("a = Cast <to: int = 10> (x)", "float16[N,2,1]"),
        ("a = Transpose <perm = [0, 2, 1]> (x)", "float[N,1,2]"),
        ("a = Reshape (x, other)", "float[2,N,1]"),
    ],
)
def test_what_only_looks_like_a_noop(kept, result):
    constants = {
        "zero": "float zero = {0}",
        "wide": "float[3] wide = {1, 1, 1}",
        "other": "int64[3] other = {2, -1, 1}",
    }
    used = "".join(f"<{text}>" for name, text in constants.items() if name in kept)
    expect_unchanged(f"g (float[N,2,1] x) => ({result} y) {used} {{ {kept} y = Neg (a) }}", CLEANUP)


def test_identity_that_names_an_output_of_an_input_stays():
    expect_unchanged("g (float[2] x) => (float[2] y) { y = Identity (x) }", CLEANUP, "gives graph output 'y' its name")


def test_identity_before_an_output():
    expect(
        "g (float[2] x) => (float[2] y) { a = Relu (x) y = Identity (a) }",
        "g (float[2] x) => (float[2] y) { y = Relu (x) }",
        CLEANUP,
        exact=True,
    )


def test_duplicate_nodes():
    expect(
        """g (float[2,3] x) => (float[3,2] y) {
            a = Transpose <perm = [1, 0]> (x)
            b = Transpose <perm = [1, 0]> (x)
            c = Relu (a)
            d = Relu (b)
            y = Add (c, d)
        }""",
        """g (float[2,3] x) => (float[3,2] y) {
            a = Transpose <perm = [1, 0]> (x)
            c = Relu (a)
            y = Add (c, c)
        }""",
        CLEANUP,
        exact=True,
    )


def test_random_nodes_are_never_merged():
    expect_unchanged(
        """g (float[2] x) => (float[2] y) {
            a = RandomNormalLike (x)
            b = RandomNormalLike (x)
            y = Sub (a, b)
        }""",
        CLEANUP,
    )


def test_duplicate_initializers_are_compared_to_the_bit():
    expect(
        """g (float[2] x) => (float[2] y)
        <float[2] a = {0, 1}, float[2] b = {0, 1}, float[2] c = {-0.0, 1}, float[1,2] d = {0, 1}> {
            p = Add (x, a)
            q = Mul (p, b)
            r = Mul (q, c)
            s = Mul (r, d)
            t = Squeeze (s)
            y = Identity (t)
        }""",
        """g (float[2] x) => (float[2] y) <float[2] a = {0, 1}, float[2] c = {-0.0, 1}, float[1,2] d = {0, 1}> {
            p = Add (x, a)
            q = Mul (p, a)
            r = Mul (q, c)
            s = Mul (r, d)
            y = Squeeze (s)
        }""",
        CLEANUP,
        exact=True,
    )


def test_equal_symbolic_shapes_are_computed_once():
    expect(
        """g (float[B,4] x, float[B,8] z) => (int64[1] p, int64[1] q) <int64[1] zero = {0}> {
            a = Shape (x)
            b = Gather (a, zero)
            c = Shape (z)
            d = Gather (c, zero)
            p = Neg (b)
            e = Abs (d)
            q = Neg (e)
        }""",
        """g (float[B,4] x, float[B,8] z) => (int64[1] p, int64[1] q) <int64[1] zero = {0}> {
            a = Shape (x)
            b = Gather (a, zero)
            p = Neg (b)
            q = Identity (p)
        }""",
        CLEANUP,
        exact=True,
    )
