"""Files and images: COCO JSON, the image reader, datasets, the drawn benchmark."""
