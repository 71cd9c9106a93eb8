"""Which admin a command talks to, and as whom."""
