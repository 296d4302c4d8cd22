"""Class relations between label spaces, found from labelled pictures."""
