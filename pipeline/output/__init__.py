"""The format of a bulk output (`recast-output/1`): shards, index, and what reads, checks and tidies them."""
