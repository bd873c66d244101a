"""The commands of `recast`, one file a family."""
