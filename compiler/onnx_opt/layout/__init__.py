"""Choosing layouts: which values of a graph are stored transposed, so that the fewest bytes are transposed in all.

The machinery knows no operator. A table gives each operator a `behaviour`: one of those in `axes`, `ranks`, `views`,
`products` and `windows`. `region` finds what hangs together, `choice` makes a `problem` of it, `mincut` solves that,
`apply` rewrites the graph. `perms` and `weigh` are what they count with.
"""
