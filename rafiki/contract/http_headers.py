"""Headers in which both sides of a call say who they are."""

VERSION_HEADER = "X-Rafiki-Version"
"""In answers of the admin: its version. Clients say theirs as their user agent."""
STACK_HEADER = "X-Rafiki-Stack"
"""In requests that are meant for one stack alone: its id. The admin of another stack refuses them."""
