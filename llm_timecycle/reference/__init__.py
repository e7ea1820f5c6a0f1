"""The formulas of the model and its training in plain NumPy: the twin that fast code is held to."""
