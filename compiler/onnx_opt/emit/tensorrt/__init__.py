"""TensorRT engines, built ahead of time: no GPU is needed where the builder is TensorRT for RTX.

    modules.py     which builder is installed
    engine.py      the emitter: from an optimized model to a file
    profiles.py    the sizes that an engine takes
    builder.py     parsing and building, in a child process, since the builder can crash
    messages.py    what goes between the two processes
    log.py         what the builder says while it works
    ask.py         which nodes the parser rejects, all of them
    locate.py      which node the builder stumbles over
    remedies.py    why, in words that help: a table
    dtypes.py      types as engines have them

An engine is always strongly typed: its precision is that of the model, which `--fp16` and other passes set.
"""
