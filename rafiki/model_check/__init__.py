"""Checks of models and local runs: what `rafiki model test` and :mod:`rafiki.model.dev` do."""
