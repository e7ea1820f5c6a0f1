"""Training: step, loop, optimizers, schedules, checkpoints, the run log."""
