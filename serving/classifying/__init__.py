"""/classify: batches, in the event loop or in threads, and the route."""
