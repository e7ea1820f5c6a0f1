"""POST /v1/completions: from a body to a checked request, and from texts to an answer."""
