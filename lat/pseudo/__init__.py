"""What the labels of two datasets say about each other: box conventions, relation priors, fusion, calibrated scores."""
