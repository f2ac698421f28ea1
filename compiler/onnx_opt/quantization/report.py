"""What the report says of each node that could be quantized."""

from __future__ import annotations

from onnx_opt.journal import Table
from onnx_opt.quantization.apply import Quantization
from onnx_opt.quantization.forms import Form
from onnx_opt.quantization.search import Findings
from onnx_opt.validate.figures import finite

TITLE = "quantization"


def table(done: Quantization, form: Form, findings: Findings) -> Table:
    """A row for each node that takes part, or has a reason why not."""
    found = Table(["node", "operator", "precision", "loss alone", "because"])
    placement = done.placement
    nodes = dict.fromkeys((*placement.nodes, *done.kept))
    for node in nodes:
        loss = findings.losses.get(node.label())
        kind = "as it was" if node in done.kept else form.name
        shown = "" if loss is None else f"{loss:.2g}"
        found.rows.append([node.label(), node.op, kind, shown, done.kept.get(node, "")])
    return found


def figures(done: Quantization, findings: Findings) -> dict[str, object]:
    """Plain data."""
    return findings.to_json() | {
        "calibration_error": finite(findings.calibration_error),
        "losses": {name: finite(loss) for name, loss in findings.losses.items()},
        "weights": done.weights,
        "weight_bytes_before": done.bytes_before,
        "weight_bytes_after": done.bytes_after,
    }
