"""Where uploaded datasets are kept."""
