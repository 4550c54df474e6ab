"""Fuzz targets, one per reader: whatever the bytes, no crash, no hang, no cap exceeded, no twin that disagrees.

Each module here, but for `target` and `seeds`, is a target: `check` takes the bytes of one input and raises where a
promise is broken, `seeds` gives inputs made of the sample captures, `LONGEST` is the most bytes of an input.
"""
