"""The catalog's rows, a family a file."""
