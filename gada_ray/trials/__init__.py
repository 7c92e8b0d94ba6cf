"""One configuration on one split: what names it, where its results are, its state, and how it is run."""
