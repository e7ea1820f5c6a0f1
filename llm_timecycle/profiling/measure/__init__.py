"""Runs things and times them; the only part of `profiling` that needs TensorFlow."""
