"""Services that can keep a log, a file each."""
