"""What is looked at in a data set before it costs a training.

``check.py`` goes through it, ``doubles.py`` compares boxes, ``files.py`` compares files.
"""
