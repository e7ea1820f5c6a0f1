"""Stage 1, input processing: text files, corpora, tokenizers, the token store, batches."""
