"""How images and weights move: storage, inventory, decode, generate, encode, shards, index; the training loop."""
