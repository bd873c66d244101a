"""Where bytes lie: listings of folders, archives, tables and outputs, and the reading of one input."""
