"""Tasks become instructions and command streams, with holes where addresses belong."""
