"""What a pass takes over from the program around a model, so that a proof can hold the two together.

A pass that redefines the model, such as one that embeds the preprocessing, changes what goes in and what comes out. It
is provable all the same where it says in NumPy what the program did before: the new model is then held against that
program with the original model in its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]
"""Arrays by the name of the input or output."""


def _as_they_are(values: Values) -> Values:
    return values


@dataclass(frozen=True)
class Host:
    """The part of a program that a pass moves into the model.

    `before` makes the inputs of the model before the pass from those of the model behind it, `after` the outputs of the
    model behind the pass from those of the model before it. `text` says it in a formula. Not `exact`: the nodes may
    round otherwise than NumPy does.
    """

    text: str
    before: Callable[[Values], Values] = _as_they_are
    after: Callable[[Values], Values] = _as_they_are
    exact: bool = True


def before_all(hosts: Sequence[Host], feed: Values) -> Values:
    """The feed of the original; the last of the passes stands outermost."""
    for host in reversed(hosts):
        feed = host.before(feed)
    return feed


def after_all(hosts: Sequence[Host], outputs: Values) -> Values:
    """The outputs that the program gives in the end."""
    for host in hosts:
        outputs = host.after(outputs)
    return outputs
