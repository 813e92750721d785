#!/bin/bash
# Boots systemd as the first process of a machine of its own: the files of this one, read and never written, and the units.
# Run in new namespaces of mounts, processes, names, messages and the network:
#
#     boot.sh NAME SOURCE SITE_PACKAGES FOLDER
#
# NAME is that of its control group, SOURCE the folder of the project, SITE_PACKAGES that of the packages it needs, FOLDER an
# empty one for its mounts.
set -eu
name=$1 source=$2 packages=$3 folder=$4

mount --make-rprivate /
mount -t tmpfs machine "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root" "$folder/groups"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
mount -t cgroup2 groups "$folder/groups"
mkdir -p "$folder/groups/$name"
echo $$ > "$folder/groups/$name/cgroup.procs"

exec unshare --cgroup bash -eu -c '
source=$1 packages=$2 root=$3
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 groups "$root/sys/fs/cgroup"
for place in run tmp dev; do mount -t tmpfs -o mode=755 "$place" "$root/$place"; done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t tmpfs shm "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"

units=$root/etc/systemd/system
rm -rf "$units" "$root/etc/phimage" "$root/var/lib/phimage" "$root/var/backups/phimage" "$root/opt/phimage"
mkdir -p "$units" "$root/srv/source" "$root/srv/packages"
cp "$source"/deploy/*.service "$source"/deploy/*.timer "$units"
for target in sysinit basic machine; do  # nothing of this machine is started
  printf "[Unit]\nDescription=A small machine\nDefaultDependencies=no\nWants=systemd-journald.service\n" > "$units/$target.target"
done
systemd-sysusers --root="$root" "$source/deploy/sysusers.d/phimage.conf"
systemd-tmpfiles --create --root="$root" "$source/deploy/tmpfiles.d/phimage.conf"

mount --bind -o ro "$source" "$root/srv/source"
mount --bind -o ro "$packages" "$root/srv/packages"
chroot "$root" /usr/bin/python3 -m venv --without-pip /opt/phimage
printf "/srv/source/src\n/srv/packages\n" > "$(echo "$root"/opt/phimage/lib/python3*/site-packages)/phimage.pth"
printf "#!/opt/phimage/bin/python\nfrom phimage.cli import entry_point\nentry_point()\n" > "$root/opt/phimage/bin/phimage"
chmod 755 "$root/opt/phimage/bin/phimage"

cd "$root"
mkdir -p mnt/before
pivot_root . mnt/before
umount -l /mnt/before
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=machine.target --log-target=journal
' boot "$source" "$packages" "$folder/root"
