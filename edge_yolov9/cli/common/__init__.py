"""What several verbs share: output, saving pictures, progress, the terminal, options for sizes and targets.

``terminal.py`` and ``progress.py`` print; ``output.py`` and ``saving.py`` write files; the others read options.
"""
