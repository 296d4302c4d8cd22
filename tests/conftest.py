"""Its place puts this folder on the import path: any test can say `from factories import labeled_boxes`."""
