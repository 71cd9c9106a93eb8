"""The version of Rafiki. It is stated here alone; pyproject.toml and everything that tells it read it from here."""

__version__ = "0.1.0"
