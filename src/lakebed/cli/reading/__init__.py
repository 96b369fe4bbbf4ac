"""What users give to commands: arguments, files, and answers to questions."""
