"""Contract suites for the authors of readers and stores."""
