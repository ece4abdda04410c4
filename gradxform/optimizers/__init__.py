"""Complete optimizers: each a chain with a name."""
