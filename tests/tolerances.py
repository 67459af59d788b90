"""Every tolerance of the tests, absolute, and why it is what it is."""

# Two float64 losses near 2.3 differ by rounding of a few 1e-16; over 2h = 2e-4 that is 1e-12, and
# a sum over a batch adds to it.
REFERENCE = {1e-4: 5e-11, 1e-2: 1e-12, 0.5: 1e-12}

# The oracle in extended precision carries no such rounding: what is left is our own. The
# truncation of the curves may reach a quarter of eps / 2h, 2.8e-13 at h = 1e-4.
EXTENDED = {1e-4: 3e-13, 1e-2: 1e-13, 0.5: 1e-14}

# Losses of two programs that take the same steps from gradients within REFERENCE[1e-4].
TRAJECTORY = 1e-8

# A float32 function of a few operations: its rounding, relative to its size.
FLOAT32 = 4e-7
