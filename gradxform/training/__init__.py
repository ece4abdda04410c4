"""Around the optimizer: what a training loop is made of."""
