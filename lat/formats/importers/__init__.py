"""Other formats and the public datasets, read image by image: one file a format, and what they share.

`source` says what an importer is, `class_lists` reads the class lists of `spaces/`, `writer` writes the COCO file and its
manifest, `folders` and `streams` find and read files, and `box_store` keeps the boxes of files that are not sorted by image.
"""
