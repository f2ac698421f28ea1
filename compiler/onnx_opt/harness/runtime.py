"""Running models in ONNX Runtime, as written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnx_opt.validate.run import CannotLoad, Rejected, Runtime, Session, Unreadable
from onnx_opt.validate.source import Source
from onnx_opt.worker import Crashed

# A small model that takes longer is in an endless loop.
RUNTIME = Runtime(threads=1, limit=10.0)


class Refused(Exception):
    """ONNX Runtime does not run a model on a feed; `lack`: it has no kernel for an operator on these types; `ended`: it
    did not say so, but ended its process."""

    def __init__(self, reason: str, lack: bool = False, ended: bool = False):
        super().__init__(reason)
        self.lack = lack
        self.ended = ended


def run_model(model: bytes, feeds: Sequence[Mapping[str, np.ndarray]]) -> list[list[Any]]:
    """The results for each feed. Raises `Refused`."""
    try:
        with Session(Source.of(model), RUNTIME) as session:
            return [session.run(feed) for feed in feeds]
    except CannotLoad as error:
        raise Refused(str(error), error.is_lack, _is_crash(error)) from error
    except (Rejected, Unreadable) as error:
        raise Refused(str(error), ended=_is_crash(error)) from error


def _is_crash(error: Exception) -> bool:
    return isinstance(error.__cause__, Crashed)
