"""GET /openapi.json: the description of the server, which is its reference documentation."""
