"""Campaign files: read and checked, compared with what runs, tried on a recorded day, published."""
