"""TensorRT engines, built ahead of time: no GPU is needed where the builder is TensorRT for RTX.

    modules.py     which builder is installed
    builder.py     parsing and building, in a child process, since the builder can crash
    log.py         what it says while it works
    ask.py         which nodes the parser rejects, all of them
    remedies.py    why, in words that help: a table
    dtypes.py      types as engines have them

An engine is always strongly typed: its precision is that of the model, which `--fp16` and other passes set.
"""
