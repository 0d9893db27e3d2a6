# environment.sh ROOT (to be sourced) - sets QEMU and CROSS_GCC: the system's, else those unpacked below ROOT.host.
_host=$1.host
if command -v qemu-aarch64-static >/dev/null; then QEMU=qemu-aarch64-static; else QEMU=$_host/usr/bin/qemu-aarch64-static; fi
if command -v aarch64-linux-gnu-gcc >/dev/null; then
    CROSS_GCC=aarch64-linux-gnu-gcc
else
    # gcc finds its own parts relative to itself; its assembler, headers and libraries must be named.
    CROSS_GCC=$(compgen -G "$_host/usr/bin/aarch64-linux-gnu-gcc-[0-9]*" | head -1 || true)
    CROSS_FLAGS="--sysroot=$_host -B$_host/usr/aarch64-linux-gnu/bin -B$_host/usr/aarch64-linux-gnu/lib"
    CROSS_FLAGS="$CROSS_FLAGS -isystem $_host/usr/aarch64-linux-gnu/include -L$_host/usr/aarch64-linux-gnu/lib"
    export LD_LIBRARY_PATH="$_host/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
