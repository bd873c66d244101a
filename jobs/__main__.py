"""`python -m jobs` is `recast`."""

from jobs.cli import main

if __name__ == "__main__":
    main()
