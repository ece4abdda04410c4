"""Where the state of an optimizer lives: on which devices, in which memory, from which chain."""
