"""`rafiki model test`: what surrounds the process in which the model runs."""
