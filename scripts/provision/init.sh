#!/bin/busybox sh
# The system that a server runs in memory while it is looked at and installed. It does what the machine that deploys tells it,
# a step at a time, and switches the server off when nobody is there to tell. It writes to no drive by itself.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /run /tmp /target
export PATH=/usr/sbin:/usr/bin:/bin:/sbin
/bin/busybox --install -s /bin
mount -t tmpfs run /run

say() { echo "milepost: $*" > /dev/console; }
give_up() { say "$*; switching off"; sync; sleep 2; poweroff -f; }

say "in memory; looking for devices"
modprobe -a -q sd_mod crc32c_generic raid1 ext4 vfat af_packet
# A controller that is found shows drives that have drivers of their own.
for again in 1 2 3; do
  find /sys/devices -name modalias -exec cat {} + | sort -u | xargs modprobe -a -q 2>/dev/null
  sleep 1
done

url= server= run= mac= mtu=1500
for word in $(cat /proc/cmdline); do
  case $word in
    milepost.url=*) url=${word#*=} ;;
    milepost.server=*) server=${word#*=} ;;
    milepost.run=*) run=${word#*=} ;;
    milepost.mac=*) mac=${word#*=} ;;
    milepost.mtu=*) mtu=${word#*=} ;;
  esac
done
export url server run mac

# Cards are named by their place in the kernel's list; the site's names come with the installed system.
boot=
for card in /sys/class/net/*; do
  [ -e "$card/device" ] || continue
  name=${card##*/}
  ip link set "$name" up
  [ "$(cat "$card/address")" = "$mac" ] && boot=$name
done
[ -z "$boot" ] || ip link set "$boot" mtu "$mtu" || say "$boot: no MTU of $mtu"
[ -n "$boot" ] || give_up "the card $mac, which it was started over, has no driver here"
cat > /tmp/dhcp <<'END'
#!/bin/sh
case $1 in bound|renew) ip addr replace "$ip/$mask" dev "$interface" ;; esac
END
chmod 755 /tmp/dhcp
tries=0
until udhcpc -i "$boot" -s /tmp/dhcp -n -q -t 10 -T 1 > /dev/null 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 6 ] || give_up "no address for $mac"
done

silent=0
say "$server asks $url what to do"
while true; do
  if timeout 15 wget -q -O /tmp/step "$url/servers/$server/step?run=$run"; then
    silent=0
    sh /tmp/step
  else
    silent=$((silent + 1))
    [ $silent -lt 30 ] || give_up "$url has not answered for a minute"
    sleep 2
  fi
done
