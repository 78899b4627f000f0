"""The second stage distilled into one that samples in a few steps, by consistency tuning."""
