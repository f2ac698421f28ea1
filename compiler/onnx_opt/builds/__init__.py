"""Onnx-opt as a step of a build: what a result depends on, results that are kept, and many models at once.

request, inputs, key    what is asked for, the files that decide it, and one hash of all that can change a result
cache, recall           results by their keys on disk, and command lines that were answered from there
config                  the project file, and the outputs that it asks for
stamps, update          which outputs are up to date, and making the others
tasks, executors        a model in a process of its own, here or on a cluster
depfile, integration    what build systems read
"""
