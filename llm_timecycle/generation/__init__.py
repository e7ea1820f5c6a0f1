"""Stage 4, generated output: engines (ids -> logits), sampling (logits -> token), decoding."""
