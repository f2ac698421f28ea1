"""Rewrite rules, and what is known of the operators, as data.

`tables` declares traits of operators; every other module holds rules of one kind.
"""
