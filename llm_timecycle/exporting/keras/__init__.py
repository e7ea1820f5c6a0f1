"""The formats that Keras and TensorFlow write: one network of stock layers, three files."""
