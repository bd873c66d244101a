"""The bulk road: every input of an archive through a generator into shards, with an index row each."""
