"""The settings of a run: sections, reading, reference."""
