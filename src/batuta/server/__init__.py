"""The server: the HTTP API, the live stream and the pages over one system."""
