"""Checks that a package of others can run over what it adds to Rafiki."""
