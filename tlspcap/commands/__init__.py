"""The commands, a module each: PURPOSE in a line, `add_arguments`, and `run`, which returns the exit code."""
