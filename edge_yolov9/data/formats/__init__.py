"""Formats of other programs: ``voc`` and ``cvat`` read XML, ``layouts`` knows folders without a DATA file."""
