# Runs one small Ceph cluster with an S3 gateway, all in memory, until its pipe closes.
#
#   sh run.sh ROOTFS FOLDER MONITOR-PORT GATEWAY-PORT STORE-PORT STORE-PORTS-END ACCESS-KEY SECRET-KEY
#
# Says `pid NAME N` for each daemon, and `ready` when the gateway knows its user, or `failed: why`. When the pipe
# closes, every daemon is killed by its pid and FOLDER is removed. The programs come from an unpacked file system and
# run through that file system's own loader: no root, no chroot, no mount, and nothing of the host's is touched.
set -u
rootfs=$1 folder=$2 monitor_port=$3 gateway_port=$4 store_port=$5 store_ports_end=$6 access_key=$7 secret_key=$8
trap : INT TERM HUP
pids=

finish() {
    for pid in $pids; do kill -KILL "$pid" 2> /dev/null; done
    wait 2> /dev/null
    rm -rf "$folder"
    exit 0
}
failed() {
    # On one line, as the reader reads lines: what is below the first would be lost.
    echo "failed: $(printf '%s' "$1" | tr '\n' ' ')"
    while read -r _; do :; done
    finish
}

libraries=
for candidate in "$rootfs"/usr/lib/*/ceph/libceph-common.so.2; do libraries=${candidate%/ceph/*}; done
loader=
for candidate in "$libraries"/ld-linux*.so.*; do loader=$candidate; done
python=
for candidate in "$rootfs"/usr/bin/python3.[0-9]*; do
    case $candidate in *-config) ;; *) python=${candidate##*/} ;; esac
done
if [ -z "$libraries" ] || [ ! -e "$loader" ] || [ ! -e "$rootfs/usr/bin/$python" ]; then
    failed "$rootfs is not an unpacked Ceph"
fi

CEPH_CONF=$folder/ceph.conf
PYTHONHOME=$rootfs/usr
PYTHONPATH=$rootfs/usr/lib/python3/dist-packages
PYTHONDONTWRITEBYTECODE=1
export CEPH_CONF PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE
# call PROGRAM ARGUMENTS...: to its end, without our pipe.
call() {
    program=$1
    shift
    "$loader" --library-path "$libraries:$libraries/ceph" "$rootfs/usr/bin/$program" "$@" \
        < /dev/null >> "$folder/setup.log" 2>&1
}
# start NAME PROGRAM ARGUMENTS...: a daemon. It may hold neither our pipe nor our output.
death_signal=
if command -v setpriv > /dev/null 2>&1; then death_signal="setpriv --pdeathsig KILL"; fi
start() {
    name=$1 program=$2
    shift 2
    # shellcheck disable=SC2086 # two words on purpose, or none
    $death_signal "$loader" --library-path "$libraries:$libraries/ceph" "$rootfs/usr/bin/$program" "$@" -f \
        < /dev/null > "$folder/$name.log" 2>&1 &
    pids="$! $pids"
    echo "pid $name $!"
}

cluster=$(cat /proc/sys/kernel/random/uuid)
store=$(cat /proc/sys/kernel/random/uuid)
mkdir "$folder/mon" "$folder/osd" "$folder/rgw" "$folder/run"
# With the default limits the monitor ends itself on a disk that is nearly full, though it keeps almost nothing there.
# With the default interval each of a dozen changes of the cluster's maps waits a second of its own.
cat > "$CEPH_CONF" << CONF
[global]
fsid = $cluster
mon host = [v2:127.0.0.1:$monitor_port/0]
mon initial members = a
public network = 127.0.0.0/8
ms bind msgr1 = false
ms bind port min = $store_port
ms bind port max = $store_ports_end
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = $folder/keyring
run dir = $folder/run
admin socket = $folder/run/\$name.asok
log file = $folder/\$name.log
debug ms = 0
paxos propose interval = 0.02
paxos min wait = 0.01
mon data avail crit = -1
mon data avail warn = -1
mon warn on pool no redundancy = false
mon allow pool size one = true
mon max pg per osd = 1000
osd objectstore = memstore
memstore device bytes = 17179869184
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
plugin dir = $libraries/ceph
erasure code dir = $libraries/ceph/erasure-code
osd class dir = $libraries/rados-classes
rgw frontends = beast endpoint=127.0.0.1:$gateway_port tcp_nodelay=1
rgw dns name = localhost
rgw enable usage log = false
[mon.a]
mon data = $folder/mon
[osd.0]
osd data = $folder/osd
[client.rgw.a]
rgw data = $folder/rgw
CONF

keyring=$folder/keyring
{
    call ceph-authtool --create-keyring "$keyring" --gen-key -n mon. --cap mon 'allow *' \
        && call ceph-authtool "$keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' \
        && call ceph-authtool "$keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' \
        && call ceph-authtool "$keyring" --gen-key -n client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx' \
        && call monmaptool --create --fsid "$cluster" --addv a "[v2:127.0.0.1:$monitor_port]" "$folder/monmap" \
        && call ceph-mon --mkfs -i a --monmap "$folder/monmap" --keyring "$keyring"
} || failed "cannot prepare a cluster: $(tail -n 3 "$folder/setup.log")"

start monitor ceph-mon -i a
call "$python" "$rootfs/usr/bin/ceph" --connect-timeout 30 osd new "$store" \
    || failed "the monitor does not answer: $(tail -n 3 "$folder/setup.log" "$folder/monitor.log")"
call ceph-osd -i 0 --mkfs --osd-uuid "$store" || failed "cannot make a store: $(tail -n 3 "$folder/setup.log")"
start store ceph-osd -i 0
start gateway radosgw -n client.rgw.a
call radosgw-admin user create --uid=tester --display-name=tester --access-key="$access_key" \
    --secret-key="$secret_key" || failed "cannot make a user: $(tail -n 3 "$folder/setup.log")"
echo ready

while read -r _; do :; done
finish
