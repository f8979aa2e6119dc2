"""What a training says, and where: on standard output, or in a cell of a notebook."""
