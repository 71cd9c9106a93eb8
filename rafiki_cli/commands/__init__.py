"""One module a noun; loaded when a command of it runs."""
