"""The Rockchip NPU of a virtual board: registers and page tables as PCI functions, and its device tree."""
