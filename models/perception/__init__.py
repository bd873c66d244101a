"""What networks that find things in images share: boxes, regions of feature maps, heat maps, corner pooling.

Functions of tensors, vectorised and without compiled extensions. On a CPU their results are the same bits each time.
"""
