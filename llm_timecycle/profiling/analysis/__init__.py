"""Operation counts, roofline, fits and advice: pure functions, no TensorFlow, no clock."""
