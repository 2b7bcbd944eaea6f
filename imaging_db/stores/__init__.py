"""Where the bytes go: keys to bytes, put once and never overwritten."""
