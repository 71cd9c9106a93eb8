"""The steps of ``rafiki quickstart``."""
