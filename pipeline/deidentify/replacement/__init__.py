"""What takes the regions' place: fills that tell nothing, or new faces."""
