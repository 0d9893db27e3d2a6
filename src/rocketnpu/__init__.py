"""Open compiler, bit-exact simulator and runtime for the NPU of the Rockchip RK3588."""
