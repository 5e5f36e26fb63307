"""What several verbs share: output, saving pictures, progress, the terminal, options for sizes and targets."""
