"""Glimpse: which action a short clip shows, from a few of its frames, and how far to believe it."""
