"""Padding channels: which dims must keep the same channels in the same places, what padding would hold, what it costs.

The machinery knows no operator. `segments` holds the terms in which dims are told to agree and solves them, `content`
says what padded channels hold, `behaviour` and the kinds beside it are what a table gives to operators, `analysis` asks
the rows of a graph, `layers` says which convolutions and products want aligned channels, `cost` and `choose` decide
what pays, `apply` rewrites the graph.
"""
