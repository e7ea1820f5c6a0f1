"""Stage 2, the forward pass: the LSTM layer and the network."""
