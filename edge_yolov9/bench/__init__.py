"""What a bundle costs on this machine: latency by stage, start-up, memory, power, heat. No torch, no data set.

``suite.py`` runs the whole of it in child processes (``child.py`` here, ``worker.py`` there); ``stages.py`` times,
``sensors/`` reads what the board tells, ``throttling.py`` and ``energy.py`` draw the conclusions.
"""
