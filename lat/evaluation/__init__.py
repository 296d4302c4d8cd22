"""How good labels and detectors are."""
