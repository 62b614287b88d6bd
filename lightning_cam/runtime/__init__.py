"""What every package may use: processes, memory, errors, files, checkpoints, Lightning."""
