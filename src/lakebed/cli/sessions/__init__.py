"""session: the commands for what agents share."""
