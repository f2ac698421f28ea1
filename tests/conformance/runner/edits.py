"""Ways to make a model smaller. Each yields candidates, as they are: `pruned` takes away what nothing reads any more, and
what is no valid model is for the caller to find out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
from generator.scope import free_names
from onnx import helper, numpy_helper

from .protos import bodies, scopes

Model = onnx.ModelProto
Edit = Callable[[Model], Iterator[Model]]


def copy_of(model: Model) -> Model:
    """A deep copy."""
    made = Model()
    made.CopyFrom(model)
    return made


def pruned(model: Model) -> Model:
    """Without nodes, initializers, inputs, functions and value infos that nothing reads."""
    made = copy_of(model)
    _prune(made.graph, {value.name for value in made.graph.output})
    read = {name for node in made.graph.node for name in free_names(node)} | {v.name for v in made.graph.output}
    _keep(made.graph.initializer, lambda tensor: tensor.name in read)
    _keep(made.graph.input, lambda value: value.name in read)
    del made.graph.value_info[:]
    called: set[str] = set()
    pending = [made.graph.node]
    while pending:
        for node in pending.pop():
            pending.extend(body.node for body in bodies(node))
            if node.domain and node.op_type not in called:
                called.add(node.op_type)
                pending.extend(f.node for f in made.functions if f.name == node.op_type)
    _keep(made.functions, lambda function: function.name in called)
    return made


def _prune(graph: onnx.GraphProto, wanted: set[str]) -> None:
    kept = []
    needed = set(wanted)
    for node in reversed(graph.node):
        if needed & set(node.output):
            for body in bodies(node):
                _prune(body, {value.name for value in body.output})
            kept.append(node)
            needed.update(free_names(node))
    kept.reverse()
    nodes = [_copied(node) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)


def _copied(message: Any) -> Any:
    made = type(message)()
    made.CopyFrom(message)
    return made


def _keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    kept = [_copied(item) for item in field if wanted(item)]
    if len(kept) < len(field):
        del field[:]
        field.extend(kept)


# -- edits -------------------------------------------------------------------------------------------------------------


def fewer_outputs(model: Model) -> Iterator[Model]:
    """One output, then half of them, then all but one."""
    count = len(model.graph.output)
    if count < 2:
        return
    chosen = [[i] for i in range(count)]
    chosen += [list(range(count // 2)), list(range(count // 2, count))]
    chosen += [[i for i in range(count) if i != left] for left in range(count)]
    for keep in chosen:
        made = copy_of(model)
        kept = [_copied(made.graph.output[i]) for i in keep]
        del made.graph.output[:]
        made.graph.output.extend(kept)
        yield made


def without_node(model: Model) -> Iterator[Model]:
    """Without nodes that nothing reads: half of them, then each."""
    read = {name for node in model.graph.node for name in free_names(node)} | {v.name for v in model.graph.output}
    unread = [index for index, node in enumerate(model.graph.node) if not read & set(node.output)]
    half = len(unread) // 2
    chosen = [unread, unread[:half], unread[half:]] if half else []
    for indices in [*chosen, *([index] for index in reversed(unread))]:
        made = copy_of(model)
        for index in reversed(indices):
            del made.graph.node[index]
        yield made


def without_declarations(model: Model) -> Iterator[Model]:
    """Without inputs and initializers that nothing reads, and without what is said of values inside."""
    read = {name for node in model.graph.node for name in free_names(node)} | {v.name for v in model.graph.output}
    made = copy_of(model)
    _keep(made.graph.initializer, lambda tensor: tensor.name in read)
    _keep(made.graph.input, lambda value: value.name in read)
    del made.graph.value_info[:]
    yield made


def cut(values: Sequence[Mapping[str, Any]]) -> Edit:
    """A node of the main graph goes, and its results become inputs, or initializers: the last nodes first, in shares
    that get smaller, so that a long prefix goes in few steps."""

    def edit(model: Model) -> Iterator[Model]:
        nodes = list(model.graph.node)
        known = [index for index, node in enumerate(nodes) if _can_be_fed(node, values[0])]
        share = len(known)
        while share:
            for start in range(0, len(known), share):
                for constant in (False, True):
                    yield _without_nodes(model, known[start : start + share], values[0], constant)
            share //= 2

    return edit


def _can_be_fed(node: onnx.NodeProto, values: Mapping[str, Any]) -> bool:
    arrays = [values.get(name) for name in node.output if name]
    return all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays)


def _without_nodes(model: Model, indices: Sequence[int], values: Mapping[str, Any], constant: bool) -> Model:
    """Without these nodes; what others read of them, or the model returns, is given."""
    made = copy_of(model)
    gone = [made.graph.node[index] for index in indices]
    results = [name for node in gone for name in node.output if name]
    for index in reversed(indices):
        del made.graph.node[index]
    read = {name for node in made.graph.node for name in free_names(node)} | {v.name for v in made.graph.output}
    for name in results:
        array = values[name]
        if name in read and constant:
            made.graph.initializer.append(numpy_helper.from_array(array, name))
        elif name in read:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            made.graph.input.append(helper.make_tensor_value_info(name, kind, list(array.shape)))
    return made


def earlier_output(values: Sequence[Mapping[str, Any]]) -> Edit:
    """An operand of the node that computes an output takes the output's place."""

    def edit(model: Model) -> Iterator[Model]:
        producers = {name: node for node in model.graph.node for name in node.output}
        for index, value in enumerate(model.graph.output):
            node = producers.get(value.name)
            for name in dict.fromkeys(node.input if node is not None else ()):
                array = values[0].get(name)
                if name not in producers or not isinstance(array, np.ndarray) or array.dtype == object:
                    continue
                made = copy_of(model)
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                made.graph.output[index].CopyFrom(helper.make_tensor_value_info(name, kind, [None] * array.ndim))
                yield made

    return edit


def bypass(model: Model) -> Iterator[Model]:
    """The readers of a node, in bodies and functions too, read one of its operands instead."""
    for place, scope in enumerate(scopes(model)):
        for index, node in reversed(list(enumerate(scope.node))):
            for operand in dict.fromkeys(name for name in node.input if name):
                made = copy_of(model)
                target = scopes(made)[place]
                _redirect(target, made, node.output[0], operand)
                del target.node[index]
                yield made


def _redirect(scope: Any, model: Model, old: str, new: str) -> None:
    pending = [scope]
    while pending:
        graph = pending.pop()
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new
            pending.extend(bodies(node))
        if graph is not model.graph and isinstance(graph, onnx.GraphProto):
            for value in graph.output:
                value.name = new if value.name == old else value.name
        elif isinstance(graph, onnx.FunctionProto):
            names = [new if name == old else name for name in graph.output]
            graph.output[:] = names


def fewer_attributes(model: Model) -> Iterator[Model]:
    """One attribute less, or one trailing operand less."""
    for place, scope in enumerate(scopes(model)):
        for index, node in enumerate(scope.node):
            for which, attribute in enumerate(node.attribute):
                if attribute.type != onnx.AttributeProto.GRAPH and node.op_type != "Constant":
                    made = copy_of(model)
                    del scopes(made)[place].node[index].attribute[which]
                    yield made
            for which in reversed(range(1, len(node.input))):
                if node.input[which]:
                    made = copy_of(model)
                    operands = scopes(made)[place].node[index].input
                    operands[which] = ""
                    while operands and not operands[-1]:
                        del operands[-1]
                    yield made


def plainer(model: Model) -> Iterator[Model]:
    """Without functions, names of nodes, listed initializers; a newer IR version."""
    if model.functions:
        from onnx.inliner import inline_local_functions

        with suppress(Exception):  # not every call can be inlined
            yield inline_local_functions(model)
    made = copy_of(model)
    for scope in scopes(made):
        for node in scope.node:
            node.name = ""
    yield made
    made = copy_of(made)
    names = {tensor.name for tensor in made.graph.initializer}
    _keep(made.graph.input, lambda value: value.name not in names)
    made.ir_version = max(made.ir_version, 8)
    yield made
    made = copy_of(made)
    made.producer_name = ""
    for value in made.graph.output:
        value.type.tensor_type.ClearField("shape")
    yield made


def fixed_sizes(feed: Mapping[str, Any]) -> Edit:
    """Inputs with the sizes that they are fed with."""

    def edit(model: Model) -> Iterator[Model]:
        for index, value in enumerate(model.graph.input):
            array = feed.get(value.name)
            dims = value.type.tensor_type.shape.dim
            if isinstance(array, np.ndarray) and [d.dim_value for d in dims] != list(array.shape):
                made = copy_of(model)
                kind = value.type.tensor_type.elem_type
                made.graph.input[index].CopyFrom(helper.make_tensor_value_info(value.name, kind, list(array.shape)))
                yield made

    return edit


def simpler_constants(model: Model) -> Iterator[Model]:
    """Initializers of ones, or rounded to halves."""
    for index, tensor in enumerate(model.graph.initializer):
        array = numpy_helper.to_array(tensor)
        for simple in simpler(array):
            made = copy_of(model)
            made.graph.initializer[index].CopyFrom(numpy_helper.from_array(simple, tensor.name))
            yield made


def simpler(array: np.ndarray) -> Iterator[np.ndarray]:
    """Arrays that are easier to read than `array`, if it is not simple yet."""
    if array.dtype.kind in "fV" and array.size:
        yield from (made for made in _rounded(array) if made.tobytes() != array.tobytes())


def _rounded(array: np.ndarray) -> Iterator[np.ndarray]:
    if (array.astype(np.float64) == 1).all():
        return
    yield np.ones_like(array)
    with np.errstate(all="ignore"):
        yield (np.round(array.astype(np.float64) * 2) / 2).astype(array.dtype)
