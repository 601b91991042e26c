"""The same sessions over HTTP, for clients without a GPU or without torch; ``session.remote`` is the other end."""
