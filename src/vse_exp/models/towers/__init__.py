"""The two sides of other libraries' dual encoders (CLIP, SigLIP, …), to be trained on."""
