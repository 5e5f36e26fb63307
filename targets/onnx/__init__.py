"""Any CPU by ONNX Runtime: one ONNX file; also what the graphs of other targets are checked in.

``emit.py`` writes it, ``session.py`` runs it; ``frigate.py`` writes a second form for Frigate.
"""
