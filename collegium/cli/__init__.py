"""What the command lines of all roles share: options, output, exit codes, the lazy command tree."""
