"""Real servers on one machine: child processes on loopback, under one directory."""
