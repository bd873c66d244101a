"""What only a passcode opens: sealed originals, codes of faces, hidden names."""
