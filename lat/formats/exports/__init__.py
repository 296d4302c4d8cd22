"""A dataset in the layout that other tools read: one file a format, and what they share in `layout`."""
