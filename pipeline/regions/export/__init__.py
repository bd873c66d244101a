"""Regions of an output as files for other programs: COCO's JSON, CSV, YOLO's labels."""
