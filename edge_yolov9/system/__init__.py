"""What the operating system and the interpreter are asked for: cores and memory, child processes, folders, imports.

Nothing here knows a detector, a bundle or a frame.
"""
