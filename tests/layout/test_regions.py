"""Regions of real graphs: the choice is as good as trying every one, and the rewritten graph costs what it promised."""

import random
from itertools import product

import pytest

from layout_models import Net, count, kinds, optimized, transposed_bytes
from onnx_opt.ir import load
from onnx_opt.layout.choice import LEVELS, choose
from onnx_opt.layout.problem import Problem
from onnx_opt.layout.region import Region
from onnx_opt.layout.weigh import Weights
from onnx_opt.passes import PassContext
from onnx_opt.pipeline import Pipeline
from onnx_opt_passes.steps.regions import RULE

NCHW, NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
CHANNELS = 4


def random_net(seed: int) -> Net:
    """Convolutions between Transposes, joined by additions, activations, pooling and concatenation in NHWC; some
    results leave in either layout."""
    draw = random.Random(seed)
    net = Net(seed=seed)
    values = [net.input("x", [1, 6, 6, CHANNELS])]
    for _ in range(draw.randrange(2, 6)):
        x = draw.choice(values[-3:])
        kind = draw.choice(["conv", "conv", "add", "relu", "scale", "mean", "transposed"])
        if kind == "conv":
            made = net.op("Conv", net.transpose(x, NCHW), net.weights(CHANNELS, CHANNELS, 1, 1))
            values.append(net.transpose(made, NHWC))
        elif kind == "add":
            values.append(net.op("Add", x, draw.choice(values)))
        elif kind == "relu":
            values.append(net.op("Relu", x))
        elif kind == "scale":
            values.append(net.op("Mul", x, net.weights(CHANNELS)))
        elif kind == "mean":
            gate = net.op("ReduceMean", x, axes=[1, 2])
            values.append(net.op("Mul", x, gate))
        else:
            net.output(net.op("Sigmoid", net.transpose(x, NCHW)))
    net.output(net.op("Exp", values[-1]) if draw.random() < 0.5 else net.transpose(net.op("Exp", values[-1]), NCHW))
    return net


def regions_of(graph):
    done = set()
    for node in list(graph):
        if node.op == "Transpose" and node not in done:
            region = Region(graph, node)
            done.update(inside for tensor in region.tensors for inside in tensor.transposes)
            yield region


def problem_of(region: Region, weights: Weights, monkeypatch) -> Problem:
    """The problem that `choose` makes of a region."""
    seen = []
    monkeypatch.setattr("onnx_opt.layout.choice.solve", lambda problem: seen.append(problem) or [0] * len(problem.bias))
    choose(region, weights)
    monkeypatch.undo()
    return seen[0]


@pytest.mark.parametrize("block", range(4))
def test_as_good_as_trying_every_choice(block, monkeypatch):
    compared = 0
    for seed in range(40 * block, 40 * block + 40):
        graph = load(random_net(seed).model())
        weights = Weights(graph.inputs)
        for region in regions_of(graph):
            if len(region.sites) > 10:
                continue
            problem = problem_of(region, weights, monkeypatch)
            assert problem.levels == LEVELS
            best = min(problem.cost(forms) for forms in product((0, 1), repeat=len(problem.bias)))
            assert choose(region, weights).after == best
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("seed", range(30))
def test_the_graph_costs_what_was_promised(seed):
    model = random_net(seed).model()
    graph = load(model)
    weights = Weights(graph.inputs)
    promised = sum(choose(region, weights).after[0] for region in regions_of(graph))
    result, _ = optimized(model)
    assert transposed_bytes(result) <= min(promised, transposed_bytes(model))
    again, context = optimized(result)
    assert kinds(again) == kinds(result)
    assert not any(name == "layout" for name, _ in context.journal.by_rule()), "nothing is left to do"


@pytest.mark.parametrize("seed", range(20))
def test_every_transpose_that_is_left_has_a_reason(seed):
    context = PassContext()
    graph = load(random_net(seed).model())
    Pipeline.parse("layout,cleanup").run(graph, context)
    for node in graph:
        if node.op == "Transpose":
            reasons = [decline.reason for decline in context.journal.declines_at(node.origin) if decline.rule == RULE]
            assert any(" gives another layout than " in reason for reason in reasons), node.label()


def test_the_same_bytes_each_time():
    model = random_net(3).model()
    first, second = (optimized(model)[0].SerializeToString() for _ in range(2))
    assert first == second


def test_one_region_through_a_long_chain_of_additions():
    net = Net()
    x = net.input("x", ["N", 8, 8, CHANNELS])
    conv = net.op("Conv", net.transpose(x, NCHW), net.weights(CHANNELS, CHANNELS, 1, 1))
    y = net.transpose(conv, NHWC)
    for _ in range(400):
        y = net.op("Add", net.op("Relu", y), y)
    net.output(net.op("Conv", net.transpose(y, NCHW), net.weights(CHANNELS, CHANNELS, 1, 1)))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 1
