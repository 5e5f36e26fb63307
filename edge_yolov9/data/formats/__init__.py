"""Formats of other programs, read as they are.

``voc`` and ``cvat`` read XML, by ``xml``; ``layouts`` knows folders without a DATA file.
"""
