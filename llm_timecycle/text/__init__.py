"""Stage 1, input processing: corpora, tokenizers, the token store, lanes."""
