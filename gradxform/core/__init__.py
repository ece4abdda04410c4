"""The mechanisms that every transformation shares, each in one place."""
