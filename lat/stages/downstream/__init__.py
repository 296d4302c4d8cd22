"""The downstream stage: the sources' labels and the detectors trained on them."""
