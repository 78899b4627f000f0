"""What a trained model is worth, and the card that says so."""
