"""What passes between processes, over the Redis protocol. Nothing here has to survive: every message is sent again.

``train`` advisor and train workers; ``inference`` predictor and inference workers; ``params`` parameters shared between
trials; ``reports`` heartbeats of services; ``credentials`` one ACL user a job; ``server`` the stack's private server.
"""
