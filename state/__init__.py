"""What we remember about a customer, how one event changes it, and how it becomes bytes."""
