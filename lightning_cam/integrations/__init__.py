"""`CAMMonitor` in the training loops of other packages, one file each."""
