"""What a release carries besides code: the compiler's inputs, so that anybody can compile the contracts again."""
