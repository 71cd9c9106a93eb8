"""The command line ``rafiki``: commands over the client, the configuration and launched processes."""
