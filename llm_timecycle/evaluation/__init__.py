"""Scoring a stream of tokens, and a trained run on held-out text."""
