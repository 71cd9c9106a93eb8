"""``python -m benchmarks.serving``: Rafiki beside other servers of models, on one machine in one run."""
