"""What the machine tells of itself: name, clocks, temperatures, power.

``probe.py`` reads files below a root, so that recorded boards can be tested; the others know where to look.
"""
