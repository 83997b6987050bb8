"""The base model alone, without any reference: the floor of every comparison."""
