"""Detectors of every backend behind one protocol."""
