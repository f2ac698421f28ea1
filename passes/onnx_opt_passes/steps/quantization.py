"""A model quantized and reported: the whole of the work of the `quantize` pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.ir import fingerprint
from onnx_opt.passes import COUNTEREXAMPLES
from onnx_opt.precision.metrics import find_metric, tolerance_of
from onnx_opt.quantization import Choice, Form, Request, choose, form_for, quantize, report
from onnx_opt.quantization.data import RANDOM
from onnx_opt.quantization.roles import Layer, role_of
from onnx_opt.rewrite import apply_rules
from onnx_opt_passes.steps.names import matching
from onnx_opt_rules import conv_activation

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.passes import PassContext
    from onnx_opt_passes.quantize import Quantize

INNER = "it is in a subgraph, whose values are not calibrated"


def run(graph: Graph, context: PassContext, wishes: Quantize) -> None:
    """Quantize the main graph of a model as the pass was told. Raises TargetError for a form the target lacks."""
    form = form_for(wishes.form, context.target, wishes.block)
    journal = context.journal
    for inner in graph.model.all_graphs():
        for node in inner if inner is not graph else ():
            if isinstance(role_of(node), Layer):
                context.declined("quantize", node, INNER)
    opset = graph.opsets.get("", 0)
    if opset < form.oldest:
        remedy = f"raise it with onnx.version_converter.convert_version(model, {form.oldest})"
        journal.failures.append(f"{form.name}: operator set {opset} is older than {form.oldest}: {remedy}")
        return
    if journal.limit is not None and journal.admitted >= journal.limit:
        return
    apply_rules(graph, context, conv_activation.SPLITS)
    choice = _chosen(graph, context, wishes, form)
    findings = choice.findings
    nodes = list(graph)
    keep = {nodes[number]: reason for number, reason in choice.keep.items()}
    if findings.refused or findings.unmeasured:
        journal.failures.append(findings.summary())
    done = quantize(graph, context, form, choice.ranges, keep)
    journal.measured[context.pass_name or "quantize"] = report.figures(done, findings)
    if done.placement.nodes:
        journal.tables[report.TITLE] = report.table(done, form, findings)
        if findings.random_data:
            journal.failures.append(RANDOM)


def _chosen(graph: Graph, context: PassContext, wishes: Quantize, form: Form) -> Choice:
    """What was found for the same graph before: validation builds it again and again."""
    counterexamples = len(context.memory.get(COUNTEREXAMPLES, ()))
    key = f"{wishes} {form} {counterexamples} {fingerprint(graph)}"
    if key not in context.memory:
        tolerance = tolerance_of(context.evidence.tolerance) if context.evidence is not None else None
        metric = find_metric(wishes.metric, tolerance, form)
        request = Request(
            form, metric, wishes.data, wishes.samples, wishes.method, wishes.percentile, search=wishes.measure
        )
        context.memory[key] = choose(graph, context, request, _kept(graph, wishes))
    found: Choice = context.memory[key]
    return found


def _kept(graph: Graph, wishes: Quantize) -> dict[Node, str]:
    """The nodes that the user wants as they are."""
    found = ((node, matching(node, wishes.keep)) for node in graph)
    return {node: f"it is to be kept ({pattern})" for node, pattern in found if pattern is not None}
