"""The format of a bulk output (`recast-output/2`): shards, index, and what reads, checks and tidies them."""
