"""Publications and presigned URLs: the lake for others."""
