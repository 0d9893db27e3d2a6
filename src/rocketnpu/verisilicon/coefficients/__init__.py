"""Coefficients as the NN cores read them: weights, biases and places of the kernels, in a bit stream for each core."""
