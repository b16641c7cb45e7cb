"""The exit statuses of the program. A signal that ends it adds its number to 128."""

OK = 0
FAILED = 1
USAGE_ERROR = 2
INTERRUPTED = 130
