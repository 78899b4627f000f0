"""What a model costs: time, memory and share of the hardware's peak, of sampling and of training."""
