"""The copy meter: what a model writes, compared with the text that it was trained on."""
