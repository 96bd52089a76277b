#!/bin/sh
# Turn the root file system $1 into that of a blank Raspberry Pi OS lite. Runs outside of it.
set -eu
root=$1

# The user of a fresh Pi: ssh by key only, sudo without a password.
chroot "$root" useradd --uid 1000 --create-home --shell /bin/bash --groups sudo pi
echo 'pi ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/010_pi-nopasswd"
chmod 0440 "$root/etc/sudoers.d/010_pi-nopasswd"
cat >"$root/etc/ssh/sshd_config.d/key-only.conf" <<'END'
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
END

# Each node makes a host key of its own when it first starts; one kind is enough and takes no second.
rm -f "$root"/etc/ssh/ssh_host_*
mkdir -p "$root/etc/systemd/system/ssh.service.d"
cat >"$root/etc/systemd/system/ssh.service.d/host-keys.conf" <<'END'
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c 'test -s /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
END

# The engine mounts its own files over /etc/hostname and /etc/hosts, and nobody can rename a file
# onto a mount: `hostnamectl hostname pi1` would fail. Without the mounts the node's own files rule,
# and they outlive a restart. (The engine leaves them empty; the image's would not be seen.)
cat >"$root/sbin/pi-init" <<'END'
#!/bin/sh
umount /etc/hostname /etc/hosts
# As systemd does on a Pi, but not in a container: what is mounted later appears in the node's own containers, too.
mount --make-rshared /
test -s /etc/hostname || echo raspberrypi >/etc/hostname
test -s /etc/hosts || printf '127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n' >/etc/hosts
exec /sbin/init "$@"
END
chmod 0755 "$root/sbin/pi-init"
: >"$root/etc/machine-id"

# What provisioning and the lab's mail server install is downloaded here once, and not again by each of each lab.
cp /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" apt-get clean
chroot "$root" apt-get install --quiet --yes --download-only --no-install-recommends docker.io docker-cli
chroot "$root" apt-get install --quiet --yes --download-only --no-install-recommends opensmtpd
