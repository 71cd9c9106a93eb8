"""What it costs that workers run as services of a Docker Swarm."""
