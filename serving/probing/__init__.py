"""/probe: its parameters, the processes that attack, and the route."""
