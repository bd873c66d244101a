"""`make bench`: the measurements that need nothing but this machine."""

from tests.benchmarks import bulk_road

if __name__ == "__main__":
    bulk_road.main()
