"""Optimizers compared on a task: paired seeds, tuned rates, honest statistics."""
