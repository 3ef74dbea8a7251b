#!/bin/bash
# Boots systemd as PID 1 in namespaces of its own, over a root of which nothing is kept.
# Usage: boot.sh LOWER SHARE CGROUP: the root laid under, a folder seen as /share, a cgroup2 folder.
# SHARE/mounts lists folders of the caller to be seen, read-only, in the new root: FROM TO in a line.
# SHARE/prepare.sh is run there before systemd starts. The network is the caller's.
set -euo pipefail
export LOWER=$1 SHARE=$2
echo $BASHPID > "$3/cgroup.procs"
exec unshare --fork --pid --mount --uts --ipc --cgroup --kill-child bash -c '
set -euo pipefail
mount --make-rprivate /
R=$SHARE/root
mkdir -p "$R"
mount -t tmpfs tmpfs "$R"
mkdir "$R/upper" "$R/work" "$R/merged"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$R/upper,workdir=$R/work" "$R/merged"
R=$R/merged
mount -t proc proc "$R/proc"
mount -t sysfs sysfs "$R/sys" -o ro
for folder in run tmp dev; do mount -t tmpfs tmpfs "$R/$folder"; done
for node in null zero full random urandom tty; do
    touch "$R/dev/$node"
    mount --bind "/dev/$node" "$R/dev/$node"
done
mkdir -p "$R/dev/pts" "$R/dev/shm" "$R/share" "$R/sys/fs/cgroup"
ln -s /proc/self/fd "$R/dev/fd"
mount -t devpts devpts "$R/dev/pts" -o newinstance,ptmxmode=0666
ln -s pts/ptmx "$R/dev/ptmx"
umount "$R/sys/fs/cgroup" 2>/dev/null || true
mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
mount --bind "$SHARE" "$R/share"
while read -r from to; do
    mkdir -p "$R$to"
    mount --bind -o ro "$from" "$R$to"
done < "$SHARE/mounts"
mount --bind "$R/proc/sys" "$R/proc/sys"
mount -o remount,ro,bind "$R/proc/sys"
rm -rf "$R"/{etc,usr/lib}/systemd/system/*.wants "$R"/usr/lib/systemd/system-generators/*
: > "$R/etc/fstab"
printf "[Unit]\nDefaultDependencies=no\nWants=dbus.socket systemd-journald.service\n" \
    > "$R/etc/systemd/system/test.target"
chroot "$R" /bin/bash /share/prepare.sh
mkdir -p "$R/tmp/old"
cd "$R"
pivot_root . tmp/old
umount -l /tmp/old
# systemd leaves this to whoever made the container, and LoadCredential= needs it.
mount --make-rshared /
touch /dev/console
exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no \
    >/share/systemd.log 2>&1
'
