"""A lake and its sessions for agents that speak the Model Context Protocol (extra `mcp`)."""
