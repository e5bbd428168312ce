"""The public surface of stfed: which names there are, with which signatures, and whether their types are complete.

`python -m tests.public` says what differs from the pinned surface in `api.txt`, `python -m tests.public --write` accepts it.

modules      which modules are public, and which of their names
parts        what a class consists of: methods, properties, attributes, with their annotations
hints        what an annotation is, once it is evaluated; what is missing or too wide in it
surface      all of it as lines of text, one a name
"""
