"""What the command line does between its options and the library."""
