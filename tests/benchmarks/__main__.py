"""`make bench`: the measurements that need nothing but this machine."""

import sys

from tests.benchmarks import (
    bulk_growth,
    bulk_large_image,
    bulk_peers,
    bulk_planning,
    bulk_road,
    bulk_variants,
    deidentify_road,
    perception_blocks,
    training_road,
    training_step,
)

ALL = (
    bulk_road, bulk_peers, bulk_variants, bulk_growth, bulk_planning, bulk_large_image, deidentify_road, training_step,
    training_road, perception_blocks,
)  # fmt: skip

if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    for measurement in ALL:
        measurement.main()
