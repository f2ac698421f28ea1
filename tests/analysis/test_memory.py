"""Memory over one run and the cost of nodes, on graphs small enough to count by hand."""

from __future__ import annotations

from onnx_opt.analysis.memory import activations, costs, sizes_tested, weights_of
from onnx_opt.ir import load
from onnx_text import parse


def live(text: str, **sizes: int) -> list[int]:
    graph = load(parse(text))
    return activations(graph, weights_of(graph, sizes)).live


CHAIN = """
g (float[2,4] x) => (float[2,4] y) {
    a = Relu(x)
    b = Exp(a)
    c = Neg(b)
    y = Add(a, c)
}"""


def test_a_value_is_held_until_it_is_last_read() -> None:
    # 32 bytes each: x all the time, a to the end since Add reads it, b while Exp and Neg run
    assert live(CHAIN) == [64, 96, 128, 128]


def test_the_peak_names_the_first_node_at_which_it_is_reached() -> None:
    graph = load(parse(CHAIN))
    memory = activations(graph, weights_of(graph))
    assert (memory.peak, memory.peak_node, memory.unknown) == (128, "c", 0)


def test_weights_and_constants_are_no_activations() -> None:
    assert live("""
g (float[4] x) => (float[4] y) <float[4] w = {1, 2, 3, 4}> {
    c = Constant <value = float[4] {1, 1, 1, 1}> ()
    a = Add(x, w)
    y = Add(a, c)
}""") == [16, 32, 48]


def test_what_is_computed_of_weights_alone_is_no_activation() -> None:
    text = """
g (float[4] x) => (float[4] y) <int8[4] q = {1, 2, 3, 4}, float s = {0.5}> {
    w = DequantizeLinear(q, s)
    n = Neg(w)
    y = Add(x, n)
}"""
    assert live(text) == [16, 16, 32]
    assert live(text.replace("n = Neg(w)", "n = RandomNormalLike(w)")) == [16, 32, 48], "it differs in every run"


def test_a_view_holds_nothing_of_its_own_but_keeps_its_source() -> None:
    assert live("""
g (float[4] x) => (float[4] y) <int64[2] s = {2, 2}> {
    a = Relu(x)
    b = Reshape(a, s)
    c = Exp(x)
    d = Flatten(b)
    n = ReduceSum(d)
    y = Add(n, c)
}""") == [32, 32, 48, 48, 52, 52]


def test_an_output_is_held_to_the_end() -> None:
    assert live("g (float[4] x) => (float[4] a, float[1] y) {a = Relu(x)\n s = ReduceSum(x)\n y = Relu(s)}") == [
        32,
        36,
        40,
    ]


def test_a_node_with_subgraphs_holds_the_most_that_one_of_them_does() -> None:
    # inside of `then`: p and the result; of `else`: the result alone. Both read x, which is held outside.
    assert live("""
g (float[4] x, bool c) => (float[4] y) {
    r = Relu(x)
    y = If (c) <
        then_branch = one () => (float[4] t) { p = Exp(r)
            t = Neg(p) },
        else_branch = other () => (float[4] e) { e = Neg(r) }
    >
}""") == [16 + 1 + 16, 16 + 1 + 16 + 16 + 32]


def test_symbols_take_the_sizes_that_are_given() -> None:
    text = "g (float[n, 4] x) => (float[n, 4] y) {y = Relu(x)}"
    assert live(text, n=10) == [320]
    assert live(text) == [32], "a batch of unknown size counts as 1"


def test_values_of_unknown_rank_are_counted_but_not_weighed() -> None:
    graph = load(
        parse(
            "g (float[4] x, int64[r] s) => (float[] y) {a = Reshape(x, s)\n b = Expand(a, s)\n y = ReduceSum <keepdims=0> (b)}"
        )
    )
    memory = activations(graph, weights_of(graph))
    assert memory.unknown == 2


def test_the_cost_of_a_product() -> None:
    graph = load(parse("g (float[2,3] x, float[3,5] w) => (float[2,5] y) {y = MatMul(x, w)}"))
    (cost,) = costs(graph, weights_of(graph))
    assert (cost.flops, cost.read, cost.written) == (2 * 2 * 3 * 5, 4 * (6 + 15), 4 * 10)
    assert cost.intensity == 60 / 124


def test_a_view_costs_nothing_and_one_operand_read_twice_counts_once() -> None:
    graph = load(parse("g (float[8] x) => (float[2,4] y) <int64[2] s = {2, 4}> {a = Mul(x, x)\n y = Reshape(a, s)}"))
    assert [(c.read, c.written) for c in costs(graph, weights_of(graph))] == [(32, 32), (0, 0)]


def test_sizes_of_a_proof() -> None:
    assert sizes_tested({"batch": [1, 4, 7], "x[1]": [3], "n": []}) == {"batch": 7, "x[1]": 3, "?x.1": 3}
