"""``bench speed``: this library beside the reference packages, on the same inputs."""
