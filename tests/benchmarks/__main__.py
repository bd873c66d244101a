"""`make bench`: the measurements that need nothing but this machine."""

import sys

from tests.benchmarks import bulk_large_image, bulk_peers, bulk_planning, bulk_road, bulk_variants, deidentify_road

if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    for measurement in (bulk_road, bulk_peers, bulk_variants, bulk_planning, bulk_large_image, deidentify_road):
        measurement.main()
