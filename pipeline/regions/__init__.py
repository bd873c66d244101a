"""What finds the regions: detectors of several kinds, and tables that a user brings."""
