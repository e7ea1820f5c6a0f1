"""Training on several workers: one run, whose lanes are divided among processes."""
