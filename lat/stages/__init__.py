"""The stages of a run, a module or a folder for each."""
