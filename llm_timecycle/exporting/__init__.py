"""A trained run in the formats of other programs, beside what each needs to run it."""
