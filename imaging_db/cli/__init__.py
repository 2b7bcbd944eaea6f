"""The command lines: they parse, call one function of the API, print and return an exit code."""
