"""YAML as people write it: values with their places, changes that keep comments."""
