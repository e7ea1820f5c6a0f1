"""Tests of the reference: literals worked out by hand, numeric gradients, and laws."""
