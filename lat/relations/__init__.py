"""Find class relations between label spaces from labelled images."""
