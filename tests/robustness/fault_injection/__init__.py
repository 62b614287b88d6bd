"""Faults injected into trainings: each costs at most one warning and changes no weight."""
