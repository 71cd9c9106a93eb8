"""Logging in with an account of an organisation: what is asked of an OpenID Connect provider, and what is believed of
its answers."""
