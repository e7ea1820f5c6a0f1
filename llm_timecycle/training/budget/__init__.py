"""A budget of minutes: the steps that fit into it, planned from measured times."""
