"""Where every claim of the README is measured."""
