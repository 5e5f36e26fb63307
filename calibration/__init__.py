"""Calibration recipes as package data: which images calibrate (ids, hashes, rule). No pictures."""
