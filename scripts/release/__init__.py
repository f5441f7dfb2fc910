"""What a release carries: packages, bill of materials, checksums, and the compiler's inputs for compiling again."""
