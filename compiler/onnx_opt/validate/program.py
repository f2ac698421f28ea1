"""The original model in the middle of a program: what a pass moved into the model, NumPy still does here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx_opt.host import Host, after_all, before_all
from onnx_opt.validate.collect import Record
from onnx_opt.validate.run import Rejected, Runtime, Session
from onnx_opt.validate.source import Source


@dataclass(frozen=True)
class Program:
    """The model in `source` with the `hosts` around it, the last one outermost."""

    source: Source
    hosts: tuple[Host, ...]

    @property
    def exact(self) -> bool:
        """Whether a model that does all of it gives the same bits."""
        return all(host.exact for host in self.hosts)

    def __str__(self) -> str:
        return "; ".join(host.text for host in self.hosts)

    def run(self, records: Sequence[Record], names: Sequence[str], runtime: Runtime) -> None:
        """Let each record hold what the program gives for its feed: the outputs `names`, in this order.

        Raises `CannotLoad`, `Rejected` and `Unreadable` where the original does not run.
        """
        with Session(self.source, runtime) as session:
            inner = [slot.name for slot in session.signature.outputs]
            for record in records:
                found = session.run(before_all(self.hosts, record.feed))
                outputs = after_all(self.hosts, dict(zip(inner, found, strict=True)))
                if missing := [name for name in names if name not in outputs]:
                    raise Rejected(f"the program gives no output '{missing[0]}'")
                record.outputs = [outputs[name] for name in names]
