"""Train a small LSTM language model on your own text, generate from it, see where its time goes."""

__version__ = "0.1.0"
