"""Who may ask: keys with scopes and quotas, and the record of every probe."""
