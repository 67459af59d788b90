"""f at points: called for each, in batches, from compiled code; the only place where x moves."""
