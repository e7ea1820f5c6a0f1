"""Engines: ids -> logits."""
