"""How good results are, and whether an output is what it claims to be."""
