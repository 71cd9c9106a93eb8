"""The stores of an admin, used over HTTP: ``http://host:port/stores``, with a token as credential.

For services that share no disk with the admin. Datasets are copied to the host once, for all processes there;
parameters go to the admin and come from it.
"""
