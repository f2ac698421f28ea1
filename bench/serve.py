"""An optimizer that waits for models: `serve.py TOOL` reads lines of `SOURCE<tab>RESULT` and answers each.

Starting Python and importing a tool takes longer than optimizing a small model. This file runs in the environment of
the tool and needs nothing else. The answer is 'ok', or what the tool raised; a tool that crashes ends the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


def onnx_opt(source: str, result: str) -> None:
    import onnx_opt as package

    package.optimize(source, validate=False).save(result)


def onnxsim(source: str, result: str) -> None:
    import onnx
    from onnxsim import simplify  # type: ignore[import-not-found]

    onnx.save(simplify(onnx.load(source))[0], result)


def onnxslim(source: str, result: str) -> None:
    import onnx
    from onnxslim import slim  # type: ignore[import-not-found]

    onnx.save(slim(source), result)


def onnxoptimizer(source: str, result: str) -> None:
    import onnx
    import onnxoptimizer as package  # type: ignore[import-not-found]

    onnx.save(package.optimize(onnx.load(source)), result)


def onnxscript(source: str, result: str) -> None:
    import onnx
    from onnxscript import optimizer  # type: ignore[import-not-found]

    onnx.save(optimizer.optimize(onnx.load(source)), result)


TOOLS: dict[str, Callable[[str, str], Any]] = {
    "onnx-opt": onnx_opt,
    "onnxsim": onnxsim,
    "onnxslim": onnxslim,
    "onnxoptimizer": onnxoptimizer,
    "onnxscript": onnxscript,
}


def main() -> None:
    run = TOOLS[sys.argv[1]]
    answers = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    for line in sys.stdin:
        source, result = line.rstrip("\n").split("\t")
        answer = "ok"
        try:
            run(source, result)
        except Exception as error:  # whatever a tool raises is what it makes of the model
            answer = f"{type(error).__name__}: {error}".replace("\n", " ")[:500]
        answers.write(answer + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
