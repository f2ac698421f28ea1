"""``onnx-opt verify-rules``: the installed rules, a user's own, and what is said of wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from .conftest import Outcome, run

RULES = '''
import numpy as np
from onnx import TensorProto

from onnx_opt.harness import sampler
from onnx_opt.rewrite import domain, op, require, rule


@rule(op.Neg(op.Neg("x")), exact=True)
def double_negation(x):
    """Minus minus x is x."""
    return x


@rule(op.Neg(op.Neg("x")))
def twice_is_once(x):
    """This one is wrong."""
    return op.Neg(x)


@rule(op.Relu("x"))
def reluctant(x):
    """This one never applies."""
    require(False, "not in the mood")


@sampler("QuickGelu", domain="com.microsoft")
def quick_gelu(site):
    site.operand(0, (2, 5), elem_type=TensorProto.FLOAT)


@rule(domain("com.microsoft").QuickGelu("x").named("gelu"), exact=True)
def itself_again(x, gelu):
    """Needs the sampler, since the operator has no schema; the sampler makes operands of five columns."""
    require(x.dims[-1] == 5 and gelu.attribute("alpha") is None and not gelu.attrs, "others")
    return domain("com.microsoft").QuickGelu(x, alpha=1.702)
'''


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "my_rules.py"
    path.write_text(RULES)
    return path


def verify(*arguments: object) -> Outcome:
    return run("verify-rules", "--jobs", 1, *arguments)


def report(outcome: Outcome) -> dict[str, dict]:
    return {rule["rule"]: rule for rule in json.loads(outcome.out)["rules"]}


def test_installed_rules_hold() -> None:
    outcome = verify("merge-transposes", "transpose-into-gemm-*", "--instances", 12)
    assert outcome.code == 0 and not outcome.err
    for name in ("merge-transposes", "transpose-into-gemm-a", "transpose-into-gemm-b"):
        assert name in outcome.out
    assert "3 rules hold on 36 models (seed 0); the dims of 3 are proven at every size" in outcome.out


def test_figures_as_json() -> None:
    outcome = verify("transpose-into-einsum", "--instances", 24, "--seed", 5, "--json")
    data = json.loads(outcome.out)
    (rule,) = data["rules"]
    assert data["passed"] and data["seed"] == 5
    assert rule["instances"] == 24 == rule["matched"] + rule["declined"]
    assert 0 < rule["near_misses"] < 24
    assert rule["dtypes"]["float32"] and len(rule["dtypes"]) > 1
    assert {"dynamic sizes", "NaN or infinity", "other readers"} <= rule["covered"].keys()
    assert rule["symbolic"]["status"] == "proven" and rule["symbolic"]["checked"] > 3


def test_a_users_rules(rules_file: Path) -> None:
    outcome = verify("--rules-file", rules_file, "--instances", 20, "--json")
    assert outcome.code == 1
    rules = report(outcome)
    assert {name: rule["status"] for name, rule in rules.items()} == {
        "double-negation": "ok",
        "itself-again": "ok",
        "reluctant": "no instances",
        "twice-is-once": "wrong",
    }
    assert rules["reluctant"]["declines"] == {"not in the mood": 20}
    assert rules["double-negation"]["near_misses_declined"] > 5


def test_one_rule_of_a_file(rules_file: Path) -> None:
    assert verify("--rules-file", f"{rules_file}:double_negation", "--instances", 6).code == 0
    assert verify("double-*", "--rules-file", rules_file, "--instances", 6).code == 0


def test_a_wrong_rule_is_shown_on_a_small_model(rules_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wrong"
    outcome = verify(
        "twice-is-once", "--rules-file", rules_file, "--instances", 12, "--seed", 3, "--reproducer", folder
    )
    assert outcome.code == 1
    assert "rule twice-is-once: " in outcome.err and "beyond the tolerance" in outcome.err
    (place,) = folder.iterdir()
    assert place.name == "twice-is-once-wrong-portable"
    before, after = (onnx.load(place / f"{name}.onnx") for name in ("before", "after"))
    assert [node.op_type for node in before.graph.node] == ["Neg", "Neg"]
    assert [node.op_type for node in after.graph.node] == ["Neg"]
    (array,) = np.load(place / "inputs.npz").values()
    assert array.size <= 2
    text = (place / "fault.txt").read_text()
    assert f"again: onnx-opt verify-rules twice-is-once --rules-file {rules_file} --seed " in text


def test_jobs_change_nothing(rules_file: Path) -> None:
    arguments = ("--rules-file", rules_file, "--instances", 6, "--json")
    assert run("verify-rules", "--jobs", 2, *arguments).out == verify(*arguments).out


def test_rules_of_a_package(plugin: Path) -> None:
    outcome = verify("--rules-file", "onnx_opt_example", "--instances", 6, "--json")
    assert outcome.code == 0
    assert set(report(outcome)) == {"abs-of-negation", "double-negation"}


def test_bad_usage(rules_file: Path, tmp_path: Path) -> None:
    verify("merge-transpose").fails(2, "no rule 'merge-transpose'", "merge-transposes")
    verify("--rules-file", tmp_path / "none.py").fails(2, "none.py", "no such Python file")
    verify("--rules-file", "no_such_module").fails(2, "no_such_module")
    verify("--rules-file", f"{rules_file}:quick_gelu").fails(2, "quick_gelu", "no rule")
    verify("--rules-file", rules_file, "merge-transposes").fails(2, "no rule 'merge-transposes'")
