"""One idea each: a pure pair of functions from gradients to updates."""
