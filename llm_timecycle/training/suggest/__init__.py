"""Settings for a text, chosen from what it is like, the machine's speed, and the time."""
