"""Text encoders of diffusers, both ways: one file for each of our conditioners that has a likeness there."""
