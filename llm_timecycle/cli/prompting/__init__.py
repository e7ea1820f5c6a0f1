"""Prompts: as arguments, from a file or a pipe, and typed one after another."""
