"""Two trainings, with and without `CAMCallback`, compared bit for bit; see `__main__`."""
