"""The derivatives that people call, one a file."""
