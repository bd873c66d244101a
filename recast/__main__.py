"""`python -m recast` is `recast`."""

from recast.jobs.cli import main

if __name__ == "__main__":
    main()
