"""Trainings with and without `CAMCallback`, compared bit for bit; `__main__` writes the table."""
