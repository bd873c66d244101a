"""Measures of how good images are."""
