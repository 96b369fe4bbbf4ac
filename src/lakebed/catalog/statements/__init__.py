"""SQL text by name, what runs it, and how a schema is made."""
