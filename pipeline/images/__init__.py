"""From encoded images of any origin to pixels and back: sources, archives, decoding, encoding."""
