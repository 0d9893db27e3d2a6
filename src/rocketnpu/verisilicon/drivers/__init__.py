"""The kernel's etnaviv driver: its interface, and an emulated node that answers as it does."""
