"""The losses that recipes are made of."""
