"""Functions from the step to a hyperparameter's value."""
