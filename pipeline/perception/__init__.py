"""Annotation: what networks see in the images of an archive, as rows, and drawn."""
