"""Parts that vse_exp does not have."""
