"""Made by others, under licences of their own, which lie beside it."""
