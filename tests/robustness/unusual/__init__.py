"""Trainings as strangers write them: unusual data, modules and trainers."""
