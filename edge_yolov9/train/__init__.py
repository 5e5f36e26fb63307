"""The published recipe, from labelled pictures to a checkpoint.

``start.py`` turns a request into a run, ``loop.py`` is the run, ``engine.py`` one process's forward, backward and step;
``dataset.py`` and ``augment.py`` make the batches, ``assignment.py`` and ``loss.py`` say what is learnt from them;
``folder.py`` and ``state.py`` keep what ``--resume`` needs. ``settings.py`` holds every number.
"""
