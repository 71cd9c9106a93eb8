"""What the endpoints do: a function an endpoint, named like it, ``(context, actor, request) -> response``."""
