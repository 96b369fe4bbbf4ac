"""Contents in the lake: immutable files on a local disk or any fsspec filesystem."""
