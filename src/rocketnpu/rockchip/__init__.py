"""The NPUs of Rockchip: the RK3588, and the room for its relatives."""
