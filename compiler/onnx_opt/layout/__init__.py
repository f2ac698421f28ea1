"""Choosing layouts: which values of a graph are stored transposed, so that the fewest bytes are transposed in all.

The machinery knows no operator. `behaviour`, `axes` and `views` are the kinds of behaviour that a table gives to
operators, `region` finds what hangs together, `choice` makes a `problem` of it, `mincut` solves that, `apply` rewrites
the graph.
"""
