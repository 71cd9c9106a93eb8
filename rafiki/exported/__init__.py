"""What an export runs by: `rafiki export` copies this package, and what it imports, into the exported folder.

So an export decodes, predicts and combines with the very code that an inference job does it with.
"""
