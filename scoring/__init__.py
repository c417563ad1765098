"""What we conclude from what we remember: candidates, gates, scores, channels. Pure functions."""
