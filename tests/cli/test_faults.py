"""A rewrite that is wrong is found and taken back, and the rest is kept."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import onnx_opt
from onnx_opt.errors import ValidationError

from .conftest import run, write

# Four Relu between negations; a rule takes Relu for the identity, which is wrong wherever its input can be negative.
CHAIN = """
<ir_version: 8, opset_import: ["": 17]>
chain (float[8] x) => (float[8] y)
{
  [n1] a = Neg(x)
  [n2] b = Neg(a)
  [abs] c = Abs(b)
  [harmless] d = Relu(c)
  [n3] e = Neg(d)
  [wrong] f = Relu(e)
  [n4] g = Exp(f)
  [n5] h = Neg(g)
  [n6] i = Neg(h)
  [fine] y = Relu(i)
}
"""

RULES = '''
from onnx_opt.rewrite import op, rule

@rule(op.Relu("x"), shared=True)
def relu_is_nothing(x):
    """Wrong in general."""
    return x

@rule(op.Neg(op.Neg("x")), shared=True)
def double_negation(x):
    """Right."""
    return x
'''


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    (tmp_path / "rules.py").write_text(RULES)
    return write(tmp_path / "chain.onnx", CHAIN)


def pipeline(chain: Path) -> str:
    return str(chain.with_name("rules.py"))


def test_it_is_undone_and_the_rest_kept(chain: Path, tmp_path: Path) -> None:
    outcome = run(chain, "-o", tmp_path / "out.onnx", "--passes", pipeline(chain))
    assert outcome.code == 0
    assert [node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node] == ["Abs", "Neg", "Relu", "Exp"]
    (warning,) = [line for line in outcome.err.splitlines() if "undone" in line]
    assert "rule 'relu-is-nothing'" in warning
    assert "node 'wrong'" in warning
    assert "proven" in outcome.out


def test_the_report_names_it(chain: Path) -> None:
    report = onnx_opt.optimize(chain, pipeline(chain)).report
    (fault,) = report.faults
    assert (fault.rule, fault.node, fault.origin) == ("relu-is-nothing", "wrong", ("wrong",))
    assert report.status == "proven"
    assert json.loads(json.dumps(report.to_dict()))["undone"][0]["rule"] == "relu-is-nothing"


def test_several_faults(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    steps = "a = Relu(x) m = Neg(x) b = Relu(m) s = Sin(x) c = Relu(s) y = Concat <axis = 0> (a, b, c)"
    text = f"g (float[8] x) => (float[24] y) {{ {steps} }}"
    model = write(tmp_path / "model.onnx", f'<ir_version: 8, opset_import: ["": 17]> {text}')
    report = onnx_opt.optimize(model, f"{tmp_path}/rules.py").report
    assert [fault.rule for fault in report.faults] == ["relu-is-nothing"] * 3
    assert report.status == "proven"
    assert report.after.ops["Relu"] == 3


def test_strict_fails_and_writes_nothing(chain: Path, tmp_path: Path) -> None:
    outcome = run(chain, "-o", tmp_path / "out.onnx", "--passes", pipeline(chain), "--strict")
    outcome.fails(1, str(chain), "the result is wrong", "output 'y'")
    assert not (tmp_path / "out.onnx").exists()


def test_bisect_names_the_first_wrong_rewrite(chain: Path) -> None:
    outcome = run(chain, "--passes", pipeline(chain), "--bisect")
    outcome.fails(1, "the first wrong rewrite is rule 'relu-is-nothing'", "node 'wrong'")
    with pytest.raises(ValidationError, match="'wrong'"):
        onnx_opt.optimize(chain, pipeline(chain), bisect=True)


def test_bisect_of_what_is_right_is_no_failure(chain: Path) -> None:
    assert run(chain, "--bisect").code == 0


def test_a_reproducer_shows_the_step(chain: Path, tmp_path: Path) -> None:
    assert run(chain, "--passes", pipeline(chain), "--reproducer", tmp_path / "repro").code == 0
    (folder,) = (tmp_path / "repro").iterdir()
    before, after = (onnx.load(folder / f"{name}.onnx").graph.node for name in ("before", "after"))
    assert len(before) == len(after) + 1
    assert "relu-is-nothing" in (folder / "fault.txt").read_text()
    assert run("diff", folder / "before.onnx", folder / "after.onnx").code == 1


def test_a_function_that_breaks_the_model_is_undone(chain: Path, tmp_path: Path) -> None:
    (tmp_path / "break.py").write_text("def cut(graph):\n    graph.outputs[0].inputs[0].inputs[0] = graph.inputs[0]\n")
    report = onnx_opt.optimize(chain, f"{tmp_path}/break.py:cut").report
    assert report.faults[0].rule.endswith("break.py:cut")
    assert report.after.ops == report.before.ops


def test_what_cannot_be_run_is_said_to_be_unproven(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "nobody.knows": 1]>
    g (float[2] x) => (float[2] y) { a = Neg(x) b = Identity(a) y = nobody.knows.Op <mode = "x"> (b) }"""
    outcome = run(write(tmp_path / "model.onnx", text), "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert report["status"] in ("proven", "unproven")
    assert report["notes"] or report["warnings"], "it must be said that the operator was not run"
