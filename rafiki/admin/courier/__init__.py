"""A process of its own that tells receivers of events of jobs: trackers and webhooks. The admin keeps it running.

What is to be told is in the outbox of the meta store, so nothing is lost when this process or the admin is killed; what
is told again is told by the same ids.
"""
