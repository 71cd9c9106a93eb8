"""Images as JSON and as their bytes."""
