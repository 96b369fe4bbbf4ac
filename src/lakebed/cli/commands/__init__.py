"""The commands: one file for each group, one folder for each large one."""
