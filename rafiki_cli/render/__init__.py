"""Rows to tables, JSON and YAML."""
