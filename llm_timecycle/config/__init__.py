"""The settings: a typed tree, and YAML read into it with every mistake named."""
