"""The description of the API, and where it is shown."""
