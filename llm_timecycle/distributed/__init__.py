"""Several machines: who trains together, and how they meet. Plain sockets, without TensorFlow."""
