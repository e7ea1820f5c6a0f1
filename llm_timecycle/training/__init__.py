"""Stage 3, the backward pass and all around it: step, loop, checkpoints, the run log."""
