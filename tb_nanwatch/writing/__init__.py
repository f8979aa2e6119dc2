"""The writing side: what runs inside the training process."""
