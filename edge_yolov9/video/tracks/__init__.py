"""What a tracker is made of, in numpy.

``motion.py`` says where objects are believed to be, ``assignment.py`` which box belongs to which.
"""
