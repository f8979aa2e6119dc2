"""What TensorBoard loads, and what its tab asks for."""
