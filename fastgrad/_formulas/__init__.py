"""Points and weights: mathematics on arrays, without f and without workers."""
