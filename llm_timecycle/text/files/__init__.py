"""Files as people have them: found by name, opened, decoded, and named when they are not text."""
