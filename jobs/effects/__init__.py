"""What campaigns brought, live: one process that adds it up, and reports made from its topic."""
