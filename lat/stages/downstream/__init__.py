"""The downstream stage: labels for the sources, and the detectors trained on them."""
