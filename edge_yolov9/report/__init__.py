"""A page to hand over: figures of bundles on machines, measured, scored and compared.

``run.py`` fills the columns of a document (``document.py``, ``accuracy.py``: all of ``report.json``). ``render.py``,
``compare.py`` and ``family.py`` make pages of it (``page.py``, ``cells.py``, ``plots.py``), ``publish.py`` writes them.
"""
