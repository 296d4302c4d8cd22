"""Which steps a run has, and doing them."""
