"""What is in a data set, for people: ``examine`` reads it, ``statistics`` counts, ``sheets`` and ``charts`` draw,
``page`` lays out, ``memory`` keeps what was seen of pictures.

The check itself is that of every command (:mod:`edge_yolov9.data`).
"""
