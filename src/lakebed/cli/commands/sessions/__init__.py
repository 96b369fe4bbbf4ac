"""session: the commands on sessions that agents share."""
