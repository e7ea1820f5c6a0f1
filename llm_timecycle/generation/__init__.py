"""Stage 4, generated output: sampling, the engines, the generator."""
