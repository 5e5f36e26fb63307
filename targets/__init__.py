"""One folder per target; installed as ``edge_yolov9.targets``.

A folder holds ``session.py`` for the device, ``emit.py`` for the compiler and ``target.toml`` for the boards; the files
here are what several sessions share. docs/adding-a-target.md goes through a new one.
"""
