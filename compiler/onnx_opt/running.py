"""Running the passes of a pipeline on a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from onnx_opt.errors import OnnxOptError, PassError
from onnx_opt.pipeline import Item, Repeat, spell_item
from onnx_opt.userfiles import is_user_pass

if TYPE_CHECKING:
    from onnx_opt.instrument import Instrument
    from onnx_opt.ir import Graph
    from onnx_opt.passes import Pass, PassContext


@dataclass
class Run:
    """One run of a pipeline."""

    graph: Graph
    context: PassContext
    instruments: Sequence[Instrument] = ()
    settled: dict[str, int] = field(default_factory=dict)
    """The revision of the model at which a pass, as pipeline text, found nothing to do."""
    broken: set[str] = field(default_factory=set)
    """Passes that failed and are left out from then on."""

    def run(self, items: Sequence[Item]) -> None:
        """Run `items` in order. Raises PassError where a pass fails, and takes back what that one did."""
        for item in items:
            if isinstance(item, Repeat):
                self._repeat(item)
            else:
                self._run_unless_settled(item)

    def _repeat(self, group: Repeat) -> None:
        for _ in range(group.max):
            before = self._progress()
            self.run(group.items)
            if self._progress() == before:
                return

    def _progress(self) -> tuple[int, int]:
        """What a round that did something changes. Edits alone do not count: an attempt may have been rolled back."""
        return len(self.context.journal.rewrites), len(self.graph)

    def _run_unless_settled(self, pass_: Pass) -> None:
        """A pass that found nothing to do finds nothing in the same graph again."""
        if pass_.name in self.broken:
            return
        text, revision, progress = spell_item(pass_), self.graph.model.revision, self._progress()
        if self.settled.get(text) == revision:
            return
        self._watch(pass_)
        if self.graph.model.revision == revision and self._progress() == progress:
            self.settled[text] = revision

    def _watch(self, pass_: Pass) -> None:
        """Run a pass between its instruments."""
        graph, context = self.graph, self.context
        context.pass_name = pass_.name
        for instrument in self.instruments:
            instrument.before(pass_, graph, context)
        revision, rewrites, start = graph.model.revision, len(context.journal.rewrites), perf_counter()
        self._transact(pass_)
        seconds = perf_counter() - start
        done, changed = len(context.journal.rewrites) - rewrites, graph.model.revision != revision
        for instrument in reversed(self.instruments):
            instrument.after(pass_, graph, context, seconds, done, changed)

    def _transact(self, pass_: Pass) -> None:
        path = self.graph.model.path
        try:
            with self.graph.model.transaction():
                pass_.run(self.graph, self.context)
        except OnnxOptError as error:
            error.locate(path)
            raise
        except MemoryError:  # says nothing of the pass
            raise
        except Exception as error:  # whatever a pass does wrong is undone and reported as that pass's failure
            reason = f"pass '{pass_.name}' failed and was undone: {type(error).__name__}: {error}"
            is_users = is_user_pass(pass_.name)
            if self.context.tolerant and not is_users:
                self.context.journal.failures.append(reason)
                self.broken.add(pass_.name)
                return
            remedy = None if is_users else f"--no-{pass_.name} leaves it out"
            raise PassError(reason, path=path, remedy=remedy) from error
