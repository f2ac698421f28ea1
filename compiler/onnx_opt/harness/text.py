"""Reports in words."""

from __future__ import annotations

import onnx
import onnx.printer

from onnx_opt.harness.report import Failure, HarnessReport


def summary(report: HarnessReport) -> str:
    """One line: the rule, whether it holds, and its instances."""
    verdict = "ok" if report.passed else "FAILED"
    counts = f"{report.matched} applied, {report.declined} declined, {report.rejected} rejected"
    unproven = f", {report.unproven} unproven" if report.unproven else ""
    return f"{report.rule.name}: {verdict} ({counts}{unproven}; seed {report.seed})"


def describe(failure: Failure) -> str:
    """A failure with the models before and after."""
    where = f" for {failure.target}" if failure.target else ""
    varied = f", {failure.note}" if failure.note else ""
    lines = [f"{failure.rule}{where} (seed {failure.seed}{varied}): {failure.reason}"]
    for title, model in (("before", failure.model), ("after", failure.result)):
        if model:
            lines += [f"-- {title}", onnx.printer.to_text(onnx.ModelProto.FromString(model))]
    return "\n".join(lines)
