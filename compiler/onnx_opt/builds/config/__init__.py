"""The project file: which models there are, and what is made of each.

places      the lines of a TOML file that its keys stand on
project     the file as it is written
settings    keys of the file as words of the command line
plan        the outputs that it asks for
"""
