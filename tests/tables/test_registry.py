"""The registry: third parties declare traits of their operators, contradictions are errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from onnx_opt import traits
from onnx_opt.errors import UsageError
from onnx_opt.ir import Node


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    traits.is_known(Node("Relu"))  # loads the tables
    before = {key: dict(known) for key, known in traits._traits.items()}
    meanings = dict(traits.MEANINGS)
    yield
    traits._traits.clear()
    traits._traits.update(before)
    traits.MEANINGS.clear()
    traits.MEANINGS.update(meanings)
    traits._foldable_operator.cache_clear()


def test_nothing_is_assumed_of_unknown_operators() -> None:
    node = Node("Foo", domain="devtech")
    assert not traits.is_known(node)
    assert not traits.is_pure(node)
    assert not traits.is_removable(node)
    assert not traits.is_foldable(node)
    assert not traits.is_commutative("devtech", "Foo")
    assert not traits.is_elementwise("devtech", "Foo")
    assert traits.identity_operand(node) is None


def test_a_package_declares_its_operators() -> None:
    traits.declare("devtech", "Foo Bar", "Baz", pure=True, involution=True)
    traits.declare("devtech", "Foo", foldable=False)
    assert traits.is_pure(Node("Baz", domain="devtech"))
    assert not traits.is_foldable(Node("Foo", domain="devtech"))
    assert traits.is_foldable(Node("Bar", domain="devtech"))
    assert traits.is_removable(Node("Bar", domain="devtech"))
    assert traits.is_involution("devtech", "Foo")


def test_the_standard_domain_has_two_names() -> None:
    assert traits.is_commutative("ai.onnx", "Add")
    traits.declare("ai.onnx", "Add", commutative=True)
    assert traits.is_known(Node("Add", domain="ai.onnx"))


def test_a_trait_is_declared_once() -> None:
    traits.declare("", "Relu", pure=True)
    with pytest.raises(ValueError, match=r"trait 'pure' of ai\.onnx::Relu"):
        traits.declare("", "Relu", pure=False)


def test_unknown_traits_are_refused() -> None:
    with pytest.raises(TypeError, match="comutative"):
        traits.declare("devtech", "Foo", comutative=True)


def test_packages_may_define_traits() -> None:
    traits.define("flavour", "how results follow the operand's layout")
    traits.declare("devtech", "Foo", flavour="same")
    assert traits.ask("devtech", "Foo", "flavour") == "same"
    assert traits.ask("", "Relu", "flavour", "unknown") == "unknown"
    with pytest.raises(ValueError, match="flavour"):
        traits.define("flavour", "something else")


def test_random_operators_may_be_removed_but_not_folded() -> None:
    node = Node("RandomNormal")
    assert traits.is_removable(node) and not traits.is_pure(node) and not traits.is_foldable(node)


def test_control_flow_is_pure_by_itself_and_never_folded() -> None:
    node = Node("If")
    assert traits.is_pure(node) and traits.carries_bodies(node) and not traits.is_foldable(node)


def test_a_table_that_does_not_load_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    entry = metadata.EntryPoint("broken", "no_such_module_at_all", traits.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry])
    monkeypatch.setattr(traits, "_loaded", False)
    with pytest.raises(UsageError, match=r"operator table 'broken' .*uninstall"):
        traits.ask("", "Relu", "pure")


def test_questions_load_the_tables_and_nothing_before() -> None:
    code = (
        "import sys; import onnx_opt.traits as t;"
        "assert 'onnx' not in sys.modules and 'onnx_opt_rules' not in sys.modules, 'too early';"
        "assert t.is_commutative('', 'Add'); assert 'onnx_opt_rules.tables' in sys.modules"
    )
    path = ":".join(sys.path)
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})
