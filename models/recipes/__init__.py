"""The recipes, by name."""
