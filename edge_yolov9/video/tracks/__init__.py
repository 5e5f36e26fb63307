"""What a tracker is made of: where objects are believed to be, and which box belongs to which (numpy)."""
