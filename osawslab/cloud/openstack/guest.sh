# The VM's image: Debian's cloud kernel, and busybox and dropbear as its whole system (4 MB).
# It needs no internet, and starts in seconds where a processor is only imitated.
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
mkdir kernel
if [ -z "$(find /boot -name 'vmlinuz-*cloud*')" ]; then  # an instance that is a container
  meta=linux-image-cloud-$(dpkg --print-architecture)
  package=$(apt-cache depends "$meta" | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p')
  apt-get download -q -o APT::Sandbox::User=root "$package"
  dpkg-deb -x linux-image-*.deb kernel
fi
mkdir -p /usr/lib/modules
vmlinuz=$(find /boot kernel -name 'vmlinuz-*cloud*' | sort -V | tail -n 1)
modules=$(find /usr/lib/modules kernel -type d -name "${vmlinuz##*/vmlinuz-}" | head -n 1)

mkdir -p root/{bin,sbin,etc/dropbear,proc,sys,dev,root/.ssh,modules,tmp,run,var/log,usr/bin,usr/sbin}
cp /bin/busybox root/bin/
for name in $(/bin/busybox --list); do
  [ "$name" = busybox ] || ln -sf busybox "root/bin/$name"
done
for program in /usr/sbin/dropbear /usr/bin/dropbearkey; do
  cp "$program" root/sbin/
  ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "root$(dirname "$library")"; cp -L "$library" "root$library"
  done
done
number=0
for name in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci \
    failover net_failover virtio_net rng-core virtio-rng virtio_blk; do  # a key waits for randomness
  file=$(find "$modules" -name "$name.ko*" | head -n 1)
  [ -n "$file" ] || continue  # built into this kernel
  target=root/modules/$number-$name.ko
  case $file in *.xz) xz -dc "$file" > "$target" ;; *) cp "$file" "$target" ;; esac
  number=$((number + 1))
done
echo 'root:*:0:0:root:/root:/bin/sh' > root/etc/passwd
echo 'root:x:0:' > root/etc/group
echo /bin/sh > root/etc/shells
cat > root/etc/udhcpc.script <<'END'
#!/bin/sh
case $1 in bound|renew)
  ip addr flush dev $interface
  ip addr add $ip/${mask:-24} dev $interface
  [ -n "$mtu" ] && ip link set $interface mtu $mtu
  for each in $router; do ip route add default via $each; done
  : > /etc/resolv.conf
  for each in $dns; do echo nameserver $each >> /etc/resolv.conf; done
  set -- $staticroutes
  while [ -n "$1" ]; do [ "$1" = 0.0.0.0/0 ] || ip route add $1 via $2; shift 2; done ;;
esac
exit 0
END
cat > root/init <<'END'
#!/bin/sh
export PATH=/bin:/sbin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts; mount -t devpts devpts /dev/pts
# No offloads: what this VM sends has complete checksums, also for a switch in user space.
for module in /modules/*.ko; do
  case $module in *virtio_net.ko) insmod $module csum=0 gso=0 ;; *) insmod $module ;; esac
done
ip link set lo up; ip link set eth0 up
udhcpc -i eth0 -s /etc/udhcpc.script -t 20 -T 2 -A 2 -q -O staticroutes -O mtu  # until it has one
get() {
  printf 'GET /latest/meta-data/%s HTTP/1.0\r\nHost: 169.254.169.254\r\n\r\n' $1 |
    nc -w 20 169.254.169.254 80 > /tmp/answer
  head -1 /tmp/answer | grep -q ' 200' && tr -d '\r' < /tmp/answer | sed '1,/^$/d'
}
for try in $(seq 60); do
  get public-keys/0/openssh-key > /root/.ssh/authorized_keys
  [ -s /root/.ssh/authorized_keys ] && break
  sleep 1
done
name=$(get hostname); hostname "${name%%.*}"
chmod 700 /root /root/.ssh; chmod 600 /root/.ssh/authorized_keys
key=/etc/dropbear/dropbear_ed25519_host_key
# Its disk holds its host key and nothing else; tar would read all of it, to its very end.
head -c 65536 /dev/vda | tar xf - -C / 2>/dev/null
if ! dropbearkey -y -f $key >/dev/null 2>&1; then
  rm -f $key; dropbearkey -t ed25519 -f $key >/dev/null 2>&1
  tar cf /dev/vda -C / etc/dropbear; sync
fi
echo "guest: host key $(dropbearkey -y -f $key | grep '^ssh-ed25519')"
dropbear -r $key -E -s -p 22
echo "guest: ready, $(hostname), $(cut -d' ' -f1 /proc/uptime) s"
while :; do setsid cttyhack sh </dev/ttyS0 >/dev/ttyS0 2>&1; sleep 5; done
END
chmod +x root/init root/etc/udhcpc.script
(cd root && find . | cpio --quiet -o -H newc | gzip -1) > initrd
truncate -s 1M disk
OS_PASSWORD=$ADMIN_PASSWORD python3 - "$vmlinuz" initrd disk <<'END'
import os, sys
import openstack
cloud = openstack.connect(
    auth_url=os.environ["AUTH_URL"], username="admin", password=os.environ["OS_PASSWORD"],
    project_name="admin", user_domain_id="default", project_domain_id="default",
    region_name="RegionOne",
)
names = ("osawslab-kernel", "osawslab-initrd", "osawslab-guest")
for image in list(cloud.image.images()):
    if image.name in names:
        cloud.image.delete_image(image)
def make(name, file, kind, **more):
    return cloud.create_image(
        name, filename=file, disk_format=kind, container_format=more.pop("container", kind),
        wait=True, **more,
    )
kernel, initrd = make(names[0], sys.argv[1], "aki"), make(names[1], sys.argv[2], "ari")
make(names[2], sys.argv[3], "raw", container="bare", kernel_id=kernel.id, ramdisk_id=initrd.id,
     os_command_line="console=ttyS0 quiet")
END
