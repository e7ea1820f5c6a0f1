"""One HTML file that writes by itself: weights, tokenizer, sampler and LSTM in JavaScript."""
