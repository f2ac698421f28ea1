"""Shape functions over symbolic dims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onnx_opt.types import TensorType

Know = Callable[[str], Any]


def test_broadcasting(know: Know) -> None:
    known = know("""g (float[N,1,L] x, float[H,1] y, float[N,H,L] z, float[M] w) => (float[?] s) {
        a = Add(x, y)
        b = Mul(a, z)
        s = Sub(x, w)
    }""")
    assert known.dims("a") == "N, H, L"
    assert known.dims("b") == "N, H, L"
    assert known.dims("s") == "N, 1, ?"


def test_two_unknown_sizes_broadcast_to_the_same_each_time(know: Know) -> None:
    known = know("""g (float[N] x, float[M] y) => (float[?] s) {
        a = Add(x, y)
        b = Mul(y, x)
        s = Sub(a, b)
        t = Sub(s, x)
    }""")
    assert known.dims("a") == "?"
    assert known["a"].dims == known["b"].dims == known["s"].dims == known["t"].dims


def test_a_size_capped_by_a_table_is_the_size(know: Know) -> None:
    known = know("""g (float[N,L,8] x, float[1,512,8] table, int64[N,L] ids) => (float[?] y)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}> {
        shape = Shape(ids)
        length = Slice(shape, one, two)
        rows = Slice(table, zero, length, one)
        y = Add(x, rows)
    }""")
    assert known.dims("rows") == "1, Min(512, L), 8"
    assert known.dims("y") == "N, L, 8"


@pytest.mark.parametrize(
    ("attributes", "dims"),
    [
        ("kernel_shape = [3,3], pads = [1,1,1,1]", "N, 16, H, W"),
        ("kernel_shape = [3,3], pads = [1,1,1,1], strides = [2,2]", "N, 16, floor(H/2 + 1/2), floor(W/2 + 1/2)"),
        ("kernel_shape = [3,3], dilations = [2,1]", "N, 16, H - 4, W - 2"),
        ('kernel_shape = [3,3], auto_pad = "SAME_UPPER", strides = [2,1]', "N, 16, floor(H/2 + 1/2), W"),
        ('kernel_shape = [3,3], auto_pad = "VALID"', "N, 16, H - 2, W - 2"),
    ],
)
def test_convolution(know: Know, attributes: str, dims: str) -> None:
    known = know(f"g (float[N,3,H,W] x, float[16,3,3,3] w) => (float[?] y) {{ y = Conv<{attributes}>(x, w) }}")
    assert known.dims("y") == dims


def test_strided_layers_chain(know: Know) -> None:
    known = know("""g (float[N,3,H,W] x, float[3,3,3,3] w) => (float[?] y) {
        a = Conv<strides = [2,2], pads = [1,1,1,1]>(x, w)
        b = MaxPool<kernel_shape = [2,2], strides = [2,2]>(a)
        y = ConvTranspose<strides = [2,2], kernel_shape = [3,3], pads = [1,1,1,1], output_padding = [1,1]>(b, w)
        z = GlobalAveragePool(y)
    }""")
    assert known.dims("b") == "N, 3, floor(H/4 + 1/4), floor(W/4 + 1/4)"
    assert known.dims("y") == "N, 3, 2*floor(H/4 + 1/4), 2*floor(W/4 + 1/4)"
    assert known.dims("z") == "N, 3, 1, 1"


@pytest.mark.parametrize(
    ("attributes", "dims"),
    [
        ("kernel_shape = [2,2], strides = [2,2], ceil_mode = 1", "N, C, floor(H/2 + 1/2), 4"),
        ("kernel_shape = [2,2], strides = [2,2], ceil_mode = 0", "N, C, floor(H/2), 3"),
        ("kernel_shape = [1,1], strides = [3,3], ceil_mode = 1", "N, C, ?, 3"),
    ],
)
def test_pools_that_round_up(know: Know, attributes: str, dims: str) -> None:
    known = know(f"g (float[N,C,H,7] x) => (float[?] y) {{ y = AveragePool<{attributes}>(x) }}")
    assert known.dims("y") == dims


def test_matrix_products(know: Know) -> None:
    known = know("""g (float[N,H,L,D] q, float[N,H,D,K] k, float[D,E] w, float[D] v) => (float[?] y) {
        a = MatMul(q, k)
        b = MatMul(q, w)
        c = MatMul(q, v)
        d = Gemm<transA = 1>(w, w)
        e = Einsum<equation = "bhld,bhdk->bhlk">(q, k)
        y = Identity(a)
    }""")
    assert known.dims("a") == "N, H, L, K"
    assert known.dims("b") == "N, H, L, E"
    assert known.dims("c") == "N, H, L"
    assert known.dims("d") == "E, E"
    assert known.dims("e") == "N, H, L, K"


def test_reshape_by_computed_shape(know: Know) -> None:
    known = know("""g (float[N,L,768] x) => (float[?] y)
        <int64 i0 = {0}, int64 i1 = {1}, int64[1] axis = {0}, int64[2] heads = {12, 64}, int64[1] rest = {-1}> {
        s = Shape(x)
        n = Gather(s, i0)
        l = Gather(s, i1)
        n1 = Unsqueeze(n, axis)
        l1 = Unsqueeze(l, axis)
        shape = Concat<axis = 0>(n1, l1, heads)
        split = Reshape(x, shape)
        t = Transpose<perm = [0, 2, 1, 3]>(split)
        back = Concat<axis = 0>(n1, l1, rest)
        y = Reshape(t, back)
    }""")
    assert known.content("shape") == ["N", "L", 12, 64]
    assert known.dims("t") == "N, 12, L, 64"
    assert known.dims("y") == "N, L, 768"


def test_reshape_with_zero_and_what_is_left(know: Know) -> None:
    known = know("""g (float[N,L,8,64] x, int64[3] shape) => (float[?] y)
        <int64[3] a = {0, 0, -1}, int64[2] b = {-1, 512}, int64[2] c = {0, 7}> {
        p = Reshape(x, a)
        q = Reshape(p, b)
        y = Reshape(x, shape)
        z = Reshape(x, c)
    }""")
    assert known.dims("p") == "N, L, 512"
    assert known.dims("q") == "L*N, 512"
    assert known.dims("y") == "?, ?, ?"
    assert known.dims("z") == "N, 7"


@pytest.mark.parametrize(
    ("start", "end", "step", "dims"),
    [
        (0, 9223372036854775807, 1, "L"),
        (1, 9223372036854775807, 1, "Max(0, L - 1)"),
        (0, -1, 1, "Max(0, L - 1)"),
        (-1, 9223372036854775807, 1, "Min(1, L)"),
        (0, 9223372036854775807, 2, "floor(L/2 + 1/2)"),
        (-1, -9223372036854775807, -1, "L"),
        (0, 4, 1, "Min(4, L)"),
        (2, 0, -1, "?"),
    ],
)
def test_slice_of_unknown_length(know: Know, start: int, end: int, step: int, dims: str) -> None:
    known = know(f"""g (float[L] x) => (float[?] y)
        <int64[1] s = {{{start}}}, int64[1] e = {{{end}}}, int64[1] a = {{0}}, int64[1] t = {{{step}}}> {{
        y = Slice(x, s, e, a, t)
    }}""")
    assert known.dims("y") == dims


def test_joining_and_splitting(know: Know) -> None:
    known = know("""g (float[N,P,8] past, float[N,L,8] now) => (float[?] y) <int64[3] parts = {2, 2, 4}> {
        both = Concat<axis = 1>(past, now)
        a, b, c = Split<axis = 2>(both, parts)
        d, e = Split<axis = -1>(both)
        y = Identity(a)
    }""")
    assert known.dims("both") == "N, L + P, 8"
    assert known.dims("c") == "N, L + P, 4"
    assert known.dims("e") == "N, L + P, 4"


def test_resize(know: Know) -> None:
    known = know("""g (float[N,C,H,W] x, float[0] roi) => (float[?] y)
        <float[4] scales = {1.0, 1.0, 2.0, 0.5}, int64[2] i = {0, 1}, int64[2] hw = {32, 48}> {
        a = Resize(x, roi, scales)
        s = Shape(x)
        nc = Gather(s, i)
        sizes = Concat<axis = 0>(nc, hw)
        y = Resize(x, roi, , sizes)
    }""")
    assert known.dims("a") == "N, C, 2*H, floor(W/2)"
    assert known.dims("y") == "N, C, 32, 48"


def test_reductions_and_indices(know: Know) -> None:
    known = know("""g (float[N,L,D] x, int64[K,2] i) => (float[?] y) <int64[1] k = {5}, int64[1] axes = {1}> {
        a = ReduceMean<axes = [-1]>(x)
        b = ReduceSum<keepdims = 0>(x, axes)
        c = ArgMax<axis = 1, keepdims = 0>(x)
        d, e = TopK(x, k)
        f = GatherND(x, i)
        h = Gather<axis = 1>(x, i)
        m = NonZero(x)
        y = Identity(a)
    }""")
    assert known.dims("a") == "N, L, 1"
    assert known.dims("b") == "N, D"
    assert known.dims("c") == "N, D"
    assert known["c"].elem_type == 7
    assert known.dims("e") == "N, L, 5"
    assert known.dims("f") == "K, D"
    assert known.dims("h") == "N, K, 2, D"
    assert known.dims("m") == "3, ?"


def test_squeeze_without_axes_needs_to_know_every_dim(know: Know) -> None:
    known = know("""g (float[N,1,8] x, float[1,3,1] z) => (float[?] y) {
        y = Squeeze(x)
        w = Squeeze(z)
    }""")
    assert known.dims("y") == "unknown"
    assert known["y"].elem_type == 1
    assert known.dims("w") == "3"


def test_recurrent(know: Know) -> None:
    known = know("""g (float[L,N,8] x, float[2,64,8] w, float[2,64,16] r) => (float[?] y) {
        y, h, c = LSTM<hidden_size = 16, direction = "bidirectional">(x, w, r)
    }""")
    assert known.dims("y") == "L, 2, N, 16"
    assert known.dims("c") == "2, N, 16"


def test_quantization(know: Know) -> None:
    known = know("""g (float[N,4] x, float s, int8 z) => (float[?] y) {
        q = QuantizeLinear(x, s, z)
        y = DequantizeLinear(q, s, z)
        d, ds, dz = DynamicQuantizeLinear(x)
    }""")
    assert (known["q"].elem_type, known.dims("q")) == (3, "N, 4")
    assert (known["y"].elem_type, known.dims("y")) == (1, "N, 4")
    assert (known["d"].elem_type, known.dims("ds")) == (2, "")


# -- subgraphs ---------------------------------------------------------------------------------------------------------


def test_if_gives_what_both_branches_agree_on(know: Know) -> None:
    known = know("""g (float[N,4] x, float[N,5] z, bool c) => (float[?] y) {
        y = If(c) <
            then_branch = a () => (float[?] p) { p = Relu(x) },
            else_branch = b () => (float[?] q) { q = Abs(z) }
        >
    }""")
    assert known.dims("y") == "N, ?"


def test_if_with_a_known_condition_gives_what_it_takes(know: Know) -> None:
    known = know("""g (float[N,4] x) => (float[?] y) <int64 four = {4}, int64 one = {1}> {
        s = Shape(x)
        last = Gather(s, one)
        c = Equal(last, four)
        y = If(c) <
            then_branch = a () => (float[?] p) { p = Relu(x) },
            else_branch = b () => (float[?] q) { q = ReduceSum<keepdims = 0>(x) }
        >
    }""")
    assert known.dims("y") == "N, 4"


def test_loop_keeps_only_what_holds_in_each_iteration(know: Know) -> None:
    known = know("""g (float[N,4] x, float[N,3] k, int64 m, bool c) => (float[?] y) <int64[1] zero = {0}> {
        y, kept, all = Loop(m, c, x, k) <body = b (int64 i, bool ci, float[N,4] xi, float[N,3] ki)
            => (bool co, float[?] xo, float[?] ko, float[?] each) {
            co = Identity(ci)
            xo = Concat<axis = 0>(xi, xi)
            ko = Identity(ki)
            each = Relu(ki)
            inside = Identity(xi)
        }>
    }""")
    assert known.dims("inside") == "unknown"
    assert known["inside"].elem_type == 1
    assert known.dims("y") == "unknown"
    assert known.dims("kept") == "N, 3"
    assert known.dims("all") == "?, N, 3"


def test_sizes_made_in_a_body_do_not_leave_it(know: Know) -> None:
    known = know("""g (float[N,4] x, int64 m, bool c) => (float[?] y) {
        y, z = Loop(m, c) <body = b (int64 i, bool ci) => (bool co, float[?] p, int64[?] q) {
            co = Identity(ci)
            q = NonZero(x)
            p = Relu(x)
        }>
    }""")
    inner, outer = known["q"].dims, known["z"].dims
    assert outer[1] == 2
    assert inner[1] not in outer


def test_sequences(know: Know) -> None:
    known = know("""g (float[N,4] x, float[M,4] z, int64 i) => (float[?] y) {
        s = SequenceConstruct(x, z)
        a = SequenceAt(s, i)
        b = SequenceAt(s, i)
        y = ConcatFromSequence<axis = 0>(s)
    }""")
    assert known.dims("a") == "?, 4"
    assert known["a"].dims != known["b"].dims
    assert known.dims("y") == "?, 4"


# -- where little is known ---------------------------------------------------------------------------------------------


def test_custom_operators_are_what_the_model_declares(know: Know) -> None:
    known = know("""<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
    g (float[N,4] x) => (float[N,4] y, float[N] z) <float[N,8] a> {
        a = my.Op(x)
        y = my.Op(x)
        z = my.Op(y)
    }""")
    assert known["y"].elem_type == 1
    assert known.dims("y") == "?, 4"
    assert known["y"].dims[0] != known["z"].dims[0]


def test_local_functions_are_what_the_model_declares(know: Know) -> None:
    known = know("""<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
    g (float[N,4] x) => (float[N,4] y) { y = my.twice(x) }
    <domain: "my", opset_import: ["" : 17]> twice (p) => (q) { r = Add(p, p)  q = Relu(r) }""")
    assert known.dims("y") == "?, 4"
    assert known.dims("r") == "unknown"


def test_operators_without_a_function_fall_back_on_onnx(know: Know) -> None:
    known = know("""g (float[N,L,2] x) => (float[?] y) { y = DFT<axis = 1>(x) }""")
    assert known.dims("y") == "N, L, 2"


def test_overridable_initializers_are_not_constants(know: Know) -> None:
    text = """g (float[N] x, int64[2] shape = {{2, -1}}) => (float[?] y) {{ y = Reshape(x, shape) }}"""
    new = know('<ir_version: 8, opset_import: ["" : 17]>' + text.format())
    old = know('<ir_version: 3, opset_import: ["" : 17]>' + text.format())
    assert new.facts.constant(new["shape"]) is None
    assert new.dims("y") == "?, ?"
    assert old.facts.constant(old["shape"]).tolist() == [2, -1]
    assert old.dims("y") == "2, floor(N/2)"


def test_placeholders_are_no_names(know: Know) -> None:
    known = know("""g (float[None,4] x, float[None,4] z) => (float[?] y) { y = Add(x, z) }""")
    assert known["x"].dims[0] != known["z"].dims[0]


def test_malformed_nodes_are_unknown(know: Know) -> None:
    known = know("""g (float[2,3] x) => (float[?] y) {
        y = Transpose<perm = [0, 5]>(x)
        z = Concat<axis = 9>(x, x)
        w = Flatten<axis = "no">(x)
    }""")
    known.facts.strict = False
    assert known.dims("y") == known.dims("z") == "unknown"
    assert known["y"].elem_type == 1
    assert known.facts.type(known["w"]) == TensorType(1, None)
