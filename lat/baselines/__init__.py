"""Baselines for label transfer: other ways to train a target detector with the sources' labels."""
