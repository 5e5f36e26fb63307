"""How good detections are: COCO AP and its noise, confusion matrix, the difference of two models, their curves.

One implementation scores checkpoints in training, artifacts in the compiler, and bundles on the device.
"""
