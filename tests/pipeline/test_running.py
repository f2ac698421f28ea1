"""Running pipelines: passes are transactions, groups repeat to a fixpoint, instruments watch, the journal remembers."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from onnx import parser

from onnx_opt import Graph, Pass, PassContext, Pipeline, Repeat, load
from onnx_opt.errors import PassError, UsageError
from onnx_opt.instrument import Announce, PrintAfter, PrintAfterChange, Timing, check_pass_names
from onnx_opt.ir import Node, to_bytes
from onnx_opt.journal import Journal, Key
from onnx_opt.rewrite import apply_rules, op, require, rule

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[4] x) => (float[4] y)
{ [one] a = Neg(x) [two] b = Neg(a) [three] c = Neg(b) [four] d = Neg(c) [five] y = Relu(d) }
"""


@rule(op.Neg(op.Neg("x")), shared=True)
def double_negation(x: Any) -> Any:
    """Minus minus x is x."""
    return x


@rule(op.Relu("x"), shared=True)
def never(x: Any) -> Any:
    """Always declines."""
    require(False, "for no reason")


@dataclass(frozen=True)
class Cancel(Pass):
    """Remove double negations."""

    name: ClassVar[str] = "cancel"

    def run(self, graph: Graph, context: PassContext) -> None:
        apply_rules(graph, context, [double_negation, never])


@dataclass(frozen=True)
class Call(Pass):
    """Whatever a test wants."""

    name: ClassVar[str] = "call"
    action: Callable[[Graph, PassContext], object] = field(default=lambda graph, context: None)

    def run(self, graph: Graph, context: PassContext) -> None:
        self.action(graph, context)


@pytest.fixture
def graph() -> Graph:
    return load(parser.parse_model(MODEL))


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph]


def first(graph: Graph) -> Node:
    return next(iter(graph))


def test_a_pass_that_fails_is_undone(graph: Graph) -> None:
    before = to_bytes(graph)

    def fail(graph: Graph, context: PassContext) -> None:
        graph.nodes.clear()
        raise KeyError("something")

    with pytest.raises(
        PassError, match=r"pass 'call' failed and was undone: KeyError: 'something' .*--no-call"
    ) as caught:
        Pipeline((Cancel(), Call(fail))).run(graph, PassContext())
    assert caught.value.exit_code == 1
    assert ops(graph) == ["Relu"]
    assert len(before) > len(to_bytes(graph))


def test_a_tolerant_run_goes_on_without_the_pass_that_failed(graph: Graph) -> None:
    def fail(graph: Graph, context: PassContext) -> None:
        raise KeyError("something")

    context = PassContext(tolerant=True)
    Pipeline((Call(fail), Cancel(), Call(fail))).run(graph, context)
    assert ops(graph) == ["Relu"]
    assert context.journal.failures == ["pass 'call' failed and was undone: KeyError: 'something'"]


def test_errors_of_a_pass_keep_their_kind(graph: Graph) -> None:
    def refuse(graph: Graph, context: PassContext) -> None:
        raise UsageError("not like this")

    with pytest.raises(UsageError, match="not like this"):
        Pipeline((Call(refuse),)).run(graph, PassContext())


def test_groups_repeat_until_nothing_happens(graph: Graph) -> None:
    rounds: list[int] = []

    def count(graph: Graph, context: PassContext) -> None:
        rounds.append(len(graph))

    Pipeline((Repeat((Call(count), Cancel())),)).run(graph, PassContext())
    assert rounds == [5, 1]


def test_groups_repeat_no_more_often_than_allowed(graph: Graph) -> None:
    rounds: list[int] = []

    def pretend(graph: Graph, context: PassContext) -> None:
        rounds.append(1)
        context.applied("pretend", [])

    Pipeline((Repeat((Call(pretend),), max=4),)).run(graph, PassContext())
    assert len(rounds) == 4


def test_a_pass_that_finds_nothing_does_not_look_at_the_same_graph_again(graph: Graph) -> None:
    timing = Timing()
    Pipeline((Cancel(), Call(), Cancel(), Cancel(), Call())).run(graph, PassContext(), [timing])
    assert [run.name for run in timing.runs] == ["cancel", "call", "cancel"]


def test_the_cycle_collector_rests(graph: Graph) -> None:
    seen: list[bool] = []
    Pipeline((Call(lambda graph, context: seen.append(gc.isenabled())),)).run(graph, PassContext())
    assert seen == [False]
    assert gc.isenabled()


# -- functions of GraphSurgeon


def shorten(graph: Any) -> Any:
    """As GraphSurgeon's examples do it."""
    relu = next(node for node in graph.nodes if node.op == "Relu")
    relu.inputs[0] = graph.inputs[0]
    return graph.cleanup().toposort()


def test_a_graphsurgeon_function_is_a_pass(graph: Graph) -> None:
    journal = Journal()
    Pipeline.of(shorten).run(graph, PassContext(journal=journal))
    assert ops(graph) == ["Relu"]
    assert journal.rewrites[0].rule.endswith("test_running.py:shorten")


def test_a_function_must_change_the_graph_that_it_is_given(graph: Graph) -> None:
    with pytest.raises(PassError, match="returned another graph"):
        Pipeline.of(lambda graph: 3).run(graph, PassContext())


# -- the journal


def run(graph: Graph, **settings: Any) -> Journal:
    journal = Journal(**settings)
    Pipeline((Cancel(),)).run(graph, PassContext(journal=journal))
    return journal


def test_the_journal_numbers_rewrites_and_knows_their_origins(graph: Graph) -> None:
    journal = run(graph)
    assert [r.index for r in journal.rewrites] == [0, 1]
    assert journal.by_rule() == {("cancel", "double-negation"): 2}
    assert journal.admitted == len(journal.keys) == 2
    assert journal.rewrites_of("one") and not journal.rewrites_of("five")
    assert {name for r in journal.rewrites for name in r.origins()} == {"one", "two", "three", "four"}


def test_a_limit_does_the_first_rewrites_only(graph: Graph) -> None:
    full = run(load(parser.parse_model(MODEL)))
    assert run(graph, limit=1).keys == full.keys[:1]
    assert ops(graph) == ["Neg", "Neg", "Relu"]


def test_an_excluded_rewrite_is_never_made(graph: Graph) -> None:
    key = run(load(parser.parse_model(MODEL))).keys[0]
    journal = run(graph, excluded=frozenset({key}))
    assert key not in journal.keys
    assert isinstance(key, Key)


def test_declines_are_kept_with_their_reason(graph: Graph) -> None:
    journal = run(graph)
    (decline,) = journal.declines_of("five")
    assert (decline.pass_name, decline.rule, decline.reason) == ("cancel", "never", "for no reason")
    assert journal.declines_of("one") == []


def test_reasons_are_bounded(graph: Graph) -> None:
    context = PassContext()
    for number in range(1000):
        context.declined(f"rule-{number}", first(graph), "no")
    assert len(context.journal.declines_of("one")) == 16


# -- instruments


def test_timing_sums_up_the_runs_of_a_pass(graph: Graph) -> None:
    timing = Timing()
    Pipeline((Cancel(), Call(), Cancel())).run(graph, PassContext(), [timing])
    assert [run.name for run in timing.runs] == ["cancel", "call", "cancel"]
    totals = timing.totals()
    assert [(run.name, run.rewrites, run.nodes) for run in totals] == [("cancel", 2, 1), ("call", 0, 1)]
    assert all(run.seconds >= 0 for run in totals)


def test_printing_after_a_pass_and_after_changes(graph: Graph) -> None:
    always: list[str] = []
    changes: list[str] = []
    watching = [PrintAfter(["cancel"], always.append), PrintAfterChange(changes.append)]
    Pipeline((Call(), Cancel(), Cancel())).run(graph, PassContext(), watching)
    assert len(always) == 2
    assert len(changes) == 1
    assert changes[0].startswith("# after cancel\n")
    assert "Relu" in changes[0]


def test_passes_tell_how_far_they_are(graph: Graph) -> None:
    told: list[tuple[str, int, int]] = []
    work = Call(lambda graph, context: context.progress(3, 7))
    Pipeline((work,)).run(graph, PassContext(), [Announce(lambda *what: told.append(what))])
    assert told == [("call", 0, 0), ("call", 3, 7)]


def test_names_to_print_after_must_be_in_the_pipeline() -> None:
    pipeline = Pipeline((Repeat((Cancel(),)),))
    check_pass_names(["cancel"], pipeline)
    with pytest.raises(UsageError, match=r"no pass 'cancle'.*did you mean 'cancel'"):
        check_pass_names(["cancle"], pipeline)
