"""What a transformation is and does: who gets what."""
