"""The driver: applies rules to a fixpoint, looking again only where something changed.

For every rule it makes sure that interior values have no other user (unless the rule shares them), that the replacement
has the type of what it replaces, that graph outputs keep their names, that origins are kept, and that rules which feed
each other come to an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from onnx_opt import traits
from onnx_opt.analysis import FactConflict
from onnx_opt.ir import Graph, Node, Origin, Value, order
from onnx_opt.passes import PassContext
from onnx_opt.rewrite.build import Builder
from onnx_opt.rewrite.pattern import Head, Match, match_node
from onnx_opt.rewrite.rule import Granted, NoMatch, Rule

MATCHES_PER_RULE = 64
"""Ways to match one rule at one node that are tried; commutative operands multiply them."""
REWRITES_PER_NODE = 20
"""How many rewrites there may be for each node of the graph before the driver stops: rules that undo each other."""


def apply_rules(graph: Graph, context: PassContext, rules: Iterable[Rule]) -> int:
    """Apply `rules` to the main graph's model until none matches: in subgraphs and local functions too.

    Returns the number of rewrites. Rules are tried in the order given.
    """
    return Driver(graph, context, tuple(rules)).run()


class Driver:
    """One run of a set of rules over a model."""

    def __init__(self, graph: Graph, context: PassContext, rules: Sequence[Rule]):
        self.graph = graph
        self.model = graph.model
        self.context = context
        self.rules: dict[Head, list[Rule]] = {}
        for each in rules:
            for head in sorted(each.heads):
                self.rules.setdefault(head, []).append(each)
        self.work: dict[Node, None] = {}

    def run(self) -> int:
        """Rewrite until nothing matches; returns the number of rewrites."""
        nodes = [node for graph in self.model.all_graphs() for node in graph if (node.domain, node.op) in self.rules]
        budget = REWRITES_PER_NODE * len(nodes) + 1000
        self.work = dict.fromkeys(reversed(nodes))
        rewrites = 0
        while self.work:
            node, _ = self.work.popitem()
            if not node.alive or not self._rewrite(node):
                continue
            rewrites += 1
            if rewrites >= budget:
                self.context.declined("driver", node, f"stopped after {rewrites} rewrites: rules undo each other")
                break
        self.model.settle()
        return rewrites

    def _rewrite(self, node: Node) -> bool:
        if not any(value.uses for value in node.outputs):
            return False
        for each in self.rules.get((node.domain, node.op), ()):
            if not _in_range(each, node):
                continue
            for match in islice(match_node(each.pattern, node), MATCHES_PER_RULE):
                if self._try(each, node, match):
                    return True
        return False

    def _try(self, each: Rule, node: Node, match: Match) -> bool:
        """Apply a rule to one match. A decline keeps its reason; an edit that went wrong half-way is taken back."""
        try:
            _check_interior(each, node, match)
            fast = Granted(self.context.liberties)
            replacement = each.apply(match, root=node, graph=node.graph, target=self.context.target, fast=fast)
            if replacement is None or not self.context.admit(each.name, node):
                return False
            with self.model.transaction():
                self._replace(each, node, match, replacement, fast.taken)
        except NoMatch as reason:
            self.context.declined(each.name, node, str(reason))
            return False
        except FactConflict as conflict:
            self.context.declined(each.name, node, f"the rule would change what it replaces: {conflict}")
            return False
        except Exception as error:
            if not self.context.tolerant:
                raise
            failure = f"rule {each.name} failed at node '{node.label()}': {type(error).__name__}: {error}"
            self.context.journal.failures.append(failure)
            self.context.declined(each.name, node, failure)
            return False
        return True

    def _replace(self, each: Rule, node: Node, match: Match, replacement: object, liberties: Iterable[str]) -> None:
        graph = node.graph
        assert graph is not None
        origin = Origin.merge(each.name, [matched.origin for matched in match.nodes])
        results = list(node.outputs)
        builder = Builder(graph, node, origin, each.name)
        items = replacement if isinstance(replacement, tuple) else (replacement,)
        replaced = {
            result: builder.value(item) for result, item in zip(results, items, strict=False) if item is not None
        }
        if any(result.uses for result in results if result not in replaced):
            raise NoMatch("a result that the rule does not replace is used")
        for result, new in replaced.items():
            self.model.facts.type(new)
            self.model.facts.equate(result, new)
        touched = [user for result in results for user in result.users]
        operands = [value for matched in match.nodes for value in order.values_read(matched)]
        for result, new in replaced.items():
            if result.name and result.uses:
                graph.replace_value(result, new)
        self.model.settle()
        self._enqueue(builder.made, touched, operands)
        names = [value.name for value in results if value.name]
        labels = [matched.label() for matched in match.nodes]
        self.context.applied(each.name, labels, origin, names, liberties)

    def _enqueue(self, made: Iterable[Node], users: Iterable[Node], operands: Iterable[Value]) -> None:
        """What may match now: the new nodes, those that read their results, and the producers that lost a user."""
        producers = [value.producer for value in operands if value.producer is not None]
        for node in (*producers, *users, *made):
            if (node.domain, node.op) in self.rules:
                self.work[node] = None


def _in_range(each: Rule, node: Node) -> bool:
    return each.opsets is None or each.opsets[0] <= node.version <= each.opsets[1]


def _check_interior(each: Rule, root: Node, match: Match) -> None:
    if any(node.has_attribute_refs for node in match.nodes):
        raise NoMatch("an attribute depends on the call of the local function")
    for node in match.nodes:
        if not traits.is_understood(node):
            raise NoMatch(f"operator set {node.version} is newer than what is known of {node.op}")
    if each.shared:
        return
    inside = set(match.nodes)
    for node in match.nodes[1:]:
        if node.graph is not root.graph:
            raise NoMatch(f"node '{node.label()}' is outside of the subgraph")
        for value in node.outputs:
            if value.is_graph_output:
                raise NoMatch(f"value '{value.name}' is a graph output")
            if any(user not in inside for user, _ in value.uses):
                raise NoMatch(f"value '{value.name}' has other users")
