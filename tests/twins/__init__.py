"""Slow, literal twins in NumPy float64, written from the papers, a family a file."""
