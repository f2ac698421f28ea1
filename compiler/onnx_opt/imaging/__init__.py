"""Pictures at the ends of a model: what programs do around it, as NumPy does it and as nodes."""
