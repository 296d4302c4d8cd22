"""The label-transfer model and its parts."""
