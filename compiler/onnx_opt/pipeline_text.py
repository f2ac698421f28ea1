"""The text of a pipeline: its grammar, read and written.

    pipeline = [ item { "," item } ]
    item     = name [ "(" pipeline ")" ] [ "{" option { "," option } "}" ]
    option   = name [ "=" value ]                         a name alone is that option set to true
    value    = word | string | "[" [ value { "," value } ] "]"

A word is read as true, false, none, a number, or else as a string; strings that would read as something else, or that
hold characters of the grammar, are quoted.  This module knows the shape of the text only: what the names mean is the
business of `onnx_opt.pipeline`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from onnx_opt.errors import UsageError
from onnx_opt.options import WORD, Literals, literal, quote, spell

# Groups within groups have no use beyond two or three levels; the bound keeps hostile text from exhausting the stack.
MAX_DEPTH = 32

_TOKEN = re.compile(
    rf"""\s*(?:(?P<word>{WORD.pattern})|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<mark>[,=(){{}}\[\]]))""",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t"}


class PipelineError(UsageError):
    """The pipeline text is wrong at `column`, counted from 1."""

    def __init__(self, message: str, text: str, column: int, remedy: str | None = None) -> None:
        super().__init__(f"pipeline, column {column}: {message}", remedy=remedy)
        self.text = text
        self.column = column

    def __reduce__(self) -> tuple[object, ...]:
        return UsageError, (self.message,), self.__dict__


@dataclass(frozen=True)
class OptionText:
    """One option as written: its name, its value, and where each stands."""

    name: str
    value: Literals
    column: int
    value_column: int


@dataclass(frozen=True)
class ItemText:
    """One pass as written; `group` holds what its parentheses hold, None where there are none."""

    name: str
    column: int
    options: tuple[OptionText, ...] = ()
    group: tuple[ItemText, ...] | None = None


def parse(text: str) -> tuple[ItemText, ...]:
    """The items of a pipeline text; PipelineError where it is malformed."""
    parser = _Parser(text, _tokens(text))
    return parser.items(closing="")


def write_item(name: str, options: dict[str, object], group: str | None = None) -> str:
    """The text of one item; `group` is the text between its parentheses."""
    # A name that is a number or a keyword is still a name: only a value needs quotes for that.
    head = name if WORD.fullmatch(name) else quote(name)
    inner = "" if group is None else f"({group})"
    settings = ",".join(key if value is True else f"{key}={spell(value)}" for key, value in options.items())
    return f"{head}{inner}{{{settings}}}" if settings else f"{head}{inner}"


@dataclass(frozen=True)
class _Token:
    kind: str  # "word", "string", or the punctuation mark itself; "" at the end
    text: str
    column: int


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            column = at + len(text[at:]) - len(text[at:].lstrip()) + 1
            raise PipelineError("this string has no closing quote", text, column)
        kind = match.lastgroup or ""
        content = match[kind]
        found.append(_Token(content if kind == "mark" else kind, content, match.start(kind) + 1))
        at = match.end()
    return [*found, _Token("", "", len(text) + 1)]


@dataclass
class _Parser:
    text: str
    tokens: list[_Token]
    at: int = 0
    depth: int = field(default=0)

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *kinds: str) -> _Token | None:
        """The next token if it is of one of these kinds."""
        token = self.token
        if token.kind not in kinds:
            return None
        self.at += 1
        return token

    def fail(self, message: str) -> NoReturn:
        found = f"'{self.token.text}'" if self.token.kind else "the end"
        raise PipelineError(f"{message}, found {found}", self.text, self.token.column)

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise PipelineError("nested too deeply", self.text, self.token.column)

    def items(self, closing: str) -> tuple[ItemText, ...]:
        self.enter()
        found: list[ItemText] = []
        while self.token.kind != closing or found:
            found.append(self.item())
            if self.token.kind == closing:
                break
            if not self.take(","):
                self.fail("a comma is expected between passes" if not closing else f"',' or '{closing}' is expected")
        self.take(closing)
        self.depth -= 1
        return tuple(found)

    def item(self) -> ItemText:
        name = self.take("word", "string") or self.fail("the name of a pass is expected")
        group = self.items(closing=")") if self.take("(") else None
        options = self.options() if self.take("{") else ()
        return ItemText(_content(name), name.column, options, group)

    def options(self) -> tuple[OptionText, ...]:
        found: dict[str, OptionText] = {}
        while not self.take("}"):
            if found and not self.take(","):
                self.fail("',' or '}' is expected")
            key = self.take("word") or self.fail("the name of an option is expected")
            if key.text in found:
                raise PipelineError(f"option '{key.text}' is given twice", self.text, key.column)
            value_column = self.token.column + 1 if self.token.kind == "=" else key.column
            value = self.value() if self.take("=") else True
            found[key.text] = OptionText(key.text, value, key.column, value_column)
        return tuple(found.values())

    def value(self) -> Literals:
        if token := self.take("word"):
            return literal(token.text)
        if token := self.take("string"):
            return _content(token)
        if not self.take("["):
            self.fail("a value is expected")
        return self.values()

    def values(self) -> list[Literals]:
        self.enter()
        found: list[Literals] = []
        while not self.take("]"):
            if found and not self.take(","):
                self.fail("',' or ']' is expected")
            found.append(self.value())
        self.depth -= 1
        return found


def _content(token: _Token) -> str:
    if token.kind != "string":
        return token.text
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), token.text[1:-1], flags=re.DOTALL)
