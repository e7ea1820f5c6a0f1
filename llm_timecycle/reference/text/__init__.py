"""The twins of what reads text: words, the spelling of unknown words, passages in common."""
