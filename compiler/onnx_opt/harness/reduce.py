"""The smallest instance that still shows what is wrong with a rule.

Every step makes the failing instance smaller in one respect and is kept where the rule still applies and fails in the
same way: one input set, fewer results, fewer nodes (a value that a node computes becomes an input), smaller dims,
plain numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from onnx_opt.harness.check import Problem, check
from onnx_opt.harness.instance import Instance
from onnx_opt.harness.report import Failure
from onnx_opt.harness.runtime import Refused, run_model
from onnx_opt.harness.sizes import Feed
from onnx_opt.harness.sketch import elem_type_of
from onnx_opt.rewrite.rule import Rule

MOST_TRIALS = 200
SAME_EVERYWHERE = (1, 2)
"""Numbers that take the place of random inputs where the failure survives it."""


@dataclass
class _Case:
    model: onnx.ModelProto
    feed: Feed

    def copy(self) -> _Case:
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        return _Case(model, dict(self.feed))


def reduced(rule: Rule, failure: Failure) -> Failure:
    """The failure on a smaller model; itself where nothing can be taken away. Needs a failure with a feed."""
    if failure.feed is None or not failure.model:
        return failure
    start = _Case(onnx.ModelProto.FromString(failure.model), failure.feed)
    search = _Search(rule, failure)
    best = search.judge(start)
    if best is None:  # it takes more than one feed to show
        return failure
    while search.trials < MOST_TRIALS:
        for case in _smaller(start):
            found = search.judge(case)
            if found is not None:
                start, best = case, found
                break
            if search.trials >= MOST_TRIALS:
                break
        else:
            break
    return replace(
        failure,
        reason=best.reason,
        model=start.model.SerializeToString(),
        result=best.result,
        feed=start.feed,
    )


@dataclass
class _Search:
    rule: Rule
    failure: Failure
    trials: int = 0

    def judge(self, case: _Case) -> Problem | None:
        """The same failure on another case; None where there is none."""
        self.trials += 1
        model = case.model.SerializeToString()
        try:
            results = run_model(model, [case.feed])
            onnx.checker.check_model(case.model, full_check=True)
        except (Refused, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
            return None
        outputs = tuple(value.name for value in case.model.graph.output)
        instance = Instance(model, outputs, [case.feed], results, frozenset(), True, "")
        wanted = (self.failure.kind, self.failure.target)
        problems = check(self.rule, instance).problems
        return next((each for each in problems if (each.kind, each.target) == wanted), None)


def _smaller(case: _Case) -> Iterator[_Case]:
    yield from _with_fewer_results(case)
    yield from _with_fewer_nodes(case)
    yield from _with_smaller_dims(case)
    yield from _with_plain_numbers(case)


def _with_fewer_results(case: _Case) -> Iterator[_Case]:
    count = len(case.model.graph.output)
    for index in range(count if count > 1 else 0):
        other = case.copy()
        del other.model.graph.output[index]
        _drop_unused(other)
        yield other


def _with_fewer_nodes(case: _Case) -> Iterator[_Case]:
    """What a node computes becomes an input, if something else is left."""
    graph = case.model.graph
    inner = [name for node in graph.node for name in node.output if name and name not in _names(graph.output)]
    if not inner or any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return
    probe = onnx.ModelProto()
    probe.CopyFrom(case.model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    try:
        values = dict(zip(inner, run_model(probe.SerializeToString(), [case.feed])[0], strict=True))
    except Refused:
        return
    for index, node in reversed(list(enumerate(graph.node))):
        names = [name for name in node.output if name]
        if not all(isinstance(values.get(name), np.ndarray) for name in names):
            continue
        other = case.copy()
        del other.model.graph.node[index]
        for name in names:
            array = values[name]
            info = helper.make_tensor_value_info(name, elem_type_of(array), array.shape)
            other.model.graph.input.append(info)
            other.feed[name] = array
        _drop_unused(other)
        yield other


def _with_smaller_dims(case: _Case) -> Iterator[_Case]:
    """One size less: of all axes that share a name, or that have the same number of elements, or of one alone."""
    groups: dict[object, list[tuple[str, int]]] = {}
    for value in _fed(case):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if case.feed[value.name].shape[axis] > 1:
                size = case.feed[value.name].shape[axis]
                groups.setdefault(dim.dim_param or size, []).append((value.name, axis))
                groups.setdefault((value.name, axis), []).append((value.name, axis))
    for group in groups.values():
        other = case.copy()
        for name, axis in group:
            other.feed[name] = np.ascontiguousarray(np.take(other.feed[name], [0], axis=axis))
        _declare(other)
        yield other


def _with_plain_numbers(case: _Case) -> Iterator[_Case]:
    for name, array in case.feed.items():
        if array.dtype == np.bool_ or not array.size or not (array != array.reshape(-1)[0]).any():
            continue
        for number in SAME_EVERYWHERE:
            other = case.copy()
            other.feed[name] = np.full_like(array, number)
            yield other


def _fed(case: _Case) -> list[onnx.ValueInfoProto]:
    """The inputs that are fed: others have a default."""
    return [value for value in case.model.graph.input if value.name in case.feed]


def _declare(case: _Case) -> None:
    """Declare inputs with the sizes that are fed, but keep names of dims; nothing of outputs but their type."""
    for value in _fed(case):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value"):
                dim.dim_value = case.feed[value.name].shape[axis]
    for value in case.model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("value")


def _drop_unused(case: _Case) -> None:
    """Remove nodes, initializers and inputs that no result depends on."""
    graph = case.model.graph
    needed = _names(graph.output)
    for index, node in reversed(list(enumerate(graph.node))):
        if needed.isdisjoint(node.output):
            del graph.node[index]
        else:
            needed.update(node.input, *(_captured(node)))
    for values in (graph.initializer, graph.input):
        kept = [value for value in values if value.name in needed]
        del values[:]
        values.extend(kept)
    case.feed = {name: array for name, array in case.feed.items() if name in needed}


def _captured(node: onnx.NodeProto) -> Iterator[list[str]]:
    """What the bodies of a node read, from outside or from themselves."""
    pending = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    while pending:
        for inner in pending.pop().node:
            yield list(inner.input)
            pending += [attribute.g for attribute in inner.attribute if attribute.HasField("g")]


def _names(values: object) -> set[str]:
    return {value.name for value in values}  # type: ignore[attr-defined]
