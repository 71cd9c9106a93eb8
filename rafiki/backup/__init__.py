"""Backups of a stack: one tar file with its database, its stores and its secrets."""
