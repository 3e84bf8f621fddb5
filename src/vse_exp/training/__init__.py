"""The thin shell around the core: module, callbacks, run folder, training."""
