"""The advisor's process: it holds the meta store and the search, and never runs model code."""
