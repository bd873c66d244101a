"""The training road: a recipe on the workers of a Ray cluster, from data to a bundle."""
