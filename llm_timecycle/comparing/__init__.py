"""Runs side by side: a table of all, everything of one, several compared. No TensorFlow here."""
