"""The time view: where the time of training and generation goes, and what would shorten it."""
