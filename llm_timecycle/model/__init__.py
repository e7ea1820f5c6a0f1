"""The model: LSTM layer, output and loss, network, sharding; everything that imports TensorFlow."""
