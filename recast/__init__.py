"""Train image-to-image GANs on a Ray cluster and run them over whole image archives.

`recast.jobs`, `recast.pipeline` and `recast.models` are the folders of those names at the top of the repository: links
lead there, so that editors, type checkers, tests, Ray's workers and the wheel all see one package.
"""

__version__ = "0.1.0"
