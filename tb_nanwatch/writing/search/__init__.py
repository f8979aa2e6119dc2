"""All that is known of a KerasTuner search in the process that trains."""
