#!/bin/sh
# cases.sh NAME... - run guest cases; each leaves /out/NAME.txt, /out/NAME.status, and a marker in the kernel's log.
P="python3.13 -m rocketnpu"
MODELS=/payload/models
HENS=/payload/hens.jpg

doctor() { $P doctor; }
selftest() { $P selftest --device rocket; }
rules() { $P selftest --rules --device rocket; }
classify() { $P classify --device rocket -i $HENS -m $MODELS/mobilenet_v1_1.0_224_quant.tflite -l /payload/labels.txt; }
inprocess() { infer inprocess whole; }
library() { infer /payload/librocketnpu_delegate.so layers; }
mesa() { mkdir -p /out/mesa; for m in $MESA_MODELS; do
  python3.13 /payload/mesa.py /usr/lib/teflon/libteflon.so $MODELS/$m.tflite /payload/$m.input /out/mesa/$m.bin || return; done; }
hang() { jobs hang; }
readfault() { jobs readfault; }
writefault() { jobs writefault; }
two() { jobs loop 10 & first=$!; jobs loop 10; second=$?; wait $first && return $second; }
three() { jobs cores; }
permission() {
  chmod 600 /dev/accel/accel0
  nobody $P doctor; echo "doctor: $?"
  nobody $P selftest --device rocket; echo "selftest: $?"
  chmod 666 /dev/accel/accel0
  nobody env HOME=/tmp $P selftest --device rocket
}
clock() { now=$(date +%s); date -s @100 > /dev/null; date; jobs hang; ended=$?; date -s @$now > /dev/null; return $ended; }
closes() { jobs closes 20; }
kills() { jobs kills 12; }
guarded() { jobs guarded 6; }

nobody() { python3.13 -c 'import os, sys; os.setgid(65534); os.setuid(65534); os.execvp(sys.argv[1], sys.argv[1:])' "$@"; }
jobs() { python3.13 /payload/jobs.py "$@"; }
infer() { mkdir -p /out/$case; python3.13 /payload/infer.py $1 $2 $HENS /out/$case $MODELS/*.tflite; }

[ $# = 0 ] && exec sh
for case in "$@"; do
  echo "<4>board: case $case" > /dev/kmsg
  began=$(cut -d' ' -f1 /proc/uptime)
  $case > /out/$case.txt 2>&1
  echo $? > /out/$case.status
  echo "$case: status $(cat /out/$case.status), guest time $began .. $(cut -d' ' -f1 /proc/uptime)"
done
echo "<4>board: case none" > /dev/kmsg
