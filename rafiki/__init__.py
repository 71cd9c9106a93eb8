"""Rafiki: train model templates under a budget, search their knobs, serve the best trials as an ensemble."""

__version__ = "0.1.0"
