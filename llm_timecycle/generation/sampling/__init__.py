"""Sampling: logits -> token."""
