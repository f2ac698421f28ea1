"""The rewrite engine: patterns, rules, and the driver that applies them."""

from onnx_opt.rewrite.driver import apply_rules
from onnx_opt.rewrite.pattern import anyof, const, domain, op, opt, rest
from onnx_opt.rewrite.rule import Granted, NoMatch, Rule, decline, known, require, rule

__all__ = [
    "Granted",
    "NoMatch",
    "Rule",
    "anyof",
    "apply_rules",
    "const",
    "decline",
    "domain",
    "known",
    "op",
    "opt",
    "require",
    "rest",
    "rule",
]
