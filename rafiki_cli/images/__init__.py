"""The image that workers run in: made of this installation, pushed to a registry or spread over nodes."""
