"""Labels that a person has corrected in another tool, read back: one file a tool, what they share in `corrected`, and `merge`."""
