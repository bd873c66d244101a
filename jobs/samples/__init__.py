"""Images to try things out on: photographs that are at hand, and data sets that are drawn."""
