"""Onnx-opt as a step of a build: what a result depends on, results that are kept, and many models at once.

inputs      the files that a result depends on
key         one hash of everything that can change a result
cache       results by their keys, on disk
upkeep      one output, brought up to date from the cache or by a run
"""
