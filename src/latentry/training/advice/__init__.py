"""What a plan says to a person besides its errors: lines of advice, each with its reason and what to do."""
