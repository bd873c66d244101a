"""Sizes that networks take."""


def rounded_up(value: int, multiple: int) -> int:
    """The least multiple of a number that is no less than a value."""
    return -(-value // multiple) * multiple
