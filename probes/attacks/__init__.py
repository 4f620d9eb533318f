"""One attack a file. Each climbs an objective inside a threat model and returns an `AttackResult`."""
