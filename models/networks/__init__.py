"""One file per network. The file name is the name on the command line, in checkpoints and in tests."""
