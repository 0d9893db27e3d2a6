#!/bin/bash
# debian.sh ROOT - Debian sid's ONNX Runtime with its headers and all that it needs, unpacked into a folder.
#
# Nothing is installed on the system: an apt state of its own uses the Debian archive that this machine's sources name.
# Exit status: 0 ready, 69 packages cannot be reached (the reason is on stderr), 1 anything else.
set -euo pipefail
ROOT=$(realpath -m "${1:?usage: debian.sh ROOT}")
STATE=$ROOT.apt
[ ! -e "$ROOT/.ready" ] || { echo "ready: $ROOT"; exit 0; }
unreachable() { echo "debian: $*" >&2; exit 69; }
command -v apt-get >/dev/null || unreachable "this machine has no apt"
URI=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
      grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ')
[ -n "$URI" ] || unreachable "no Debian archive in this machine's apt sources"
mkdir -p "$STATE"/{lists/partial,cache/archives/partial} "$ROOT.debs" "$ROOT"
echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $URI sid main" >"$STATE/sources.list"
cat >"$STATE/apt.conf" <<CONF
Dir::State::Lists "$STATE/lists";
Dir::Cache "$STATE/cache";
Dir::Etc::sourcelist "$STATE/sources.list";
Dir::Etc::sourceparts "-";
APT::Architectures {"amd64";};
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "false";
CONF
export APT_CONFIG=$STATE/apt.conf
apt-get -q -o APT::Update::Error-Mode=any update >/dev/null || unreachable "the Debian archive does not answer"
NEEDED=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
             --no-enhances libonnxruntime1.23 | grep -oE '^[a-z][a-z0-9.+-]*' | sort -u)
[ -n "$NEEDED" ] || unreachable "sid has no libonnxruntime1.23"
for package in libonnxruntime-dev $NEEDED; do
    compgen -G "$ROOT.debs/${package}_*.deb" >/dev/null || (cd "$ROOT.debs" && apt-get -q download "$package") >/dev/null 2>&1 ||
        unreachable "package $package cannot be had"
    dpkg -x "$ROOT.debs/${package}"_*.deb "$ROOT"
done
touch "$ROOT/.ready"
echo "ready: $ROOT"
