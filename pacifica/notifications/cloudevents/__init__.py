"""CloudEvents of the versions 0.1, 0.3 and 1.0: their attributes, and their forms on the wire."""
