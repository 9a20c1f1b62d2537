"""Training under a rate constraint (BackSlash) and what it needs; imports torch."""
