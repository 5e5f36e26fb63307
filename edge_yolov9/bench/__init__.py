"""What a bundle costs on this machine: latency by stage, start-up, memory, power, heat. No torch, no data set.

``suite.py`` runs the whole of it in child processes (``child.py`` here, ``worker.py`` there) and gives ``measured.py``;
``stages.py`` times, ``sensors/`` reads the board, ``throttling.py`` and ``energy.py`` draw the conclusions.
"""
