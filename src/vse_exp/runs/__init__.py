"""Run folders after the training: collected, grouped over seeds, drawn."""
