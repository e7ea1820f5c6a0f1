"""A run in the formats of other programs: one room a family of formats, one table of them all."""
