"""Memory at evaluation: the neural cache and dynamic evaluation, beside the plain score."""
