"""The HTTP server: requests, one engine thread that writes for all of them, and the answers."""
