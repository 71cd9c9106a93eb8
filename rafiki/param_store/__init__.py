"""Where trained parameters are kept."""
