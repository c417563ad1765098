"""One file for each process that can be started, and the command line that starts them."""
