"""session: what agents share."""
