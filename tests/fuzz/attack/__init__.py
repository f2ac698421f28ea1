"""Inputs that nobody means well with, and what must hold of everything that reads them."""
