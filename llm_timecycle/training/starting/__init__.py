"""How a training session starts: a new run, a resumed one, and the part of another worker."""
