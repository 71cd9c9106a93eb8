"""From a raw file to a project: what is in it, its parts, and the job that trains on them."""
