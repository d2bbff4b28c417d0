# Makes a host ready for the samples: something to find for each check. STORY is the story's namespace; with the word `remove` all of it goes.
set -eu
home=/var/tmp/STORY

remove() {
  systemctl stop "STORY-*" 2>/dev/null || true
  rm -f /run/systemd/system/STORY-*.service /etc/cron.d/STORY /etc/sysctl.d/90-pilothouse.conf /run/reboot-required /run/reboot-required.pkgs
  rmdir /etc/cron.d 2>/dev/null || true
  systemctl daemon-reload
  systemctl reset-failed "STORY-*" 2>/dev/null || true
  rm -rf "$home" /var/log/STORY /srv/STORY /var/backups/STORY
  sysctl -q kernel.printk_ratelimit=5 kernel.printk_ratelimit_burst=10
  userdel STORY 2>/dev/null || true
}

files() {
  mkdir -p /etc/cron.d "$home/files" "$home/open" "$home/www" /var/backups/STORY /srv/STORY/logs /var/log/STORY
  chmod 0755 "$home" "$home"/*
  echo hello > "$home/files/hello"
  dd if=/dev/urandom of="$home/files/large" bs=1M count=3 status=none
  sqlite3 "$home/files/shop.db" 'create table orders(id integer); insert into orders values (1)'
  echo old > /var/backups/STORY/var+tmp+STORY+files+shop.db-20200101T000000Z.gz
  echo word > "$home/open/everybody"
  echo word > "$home/open/setuid"
  chmod 0666 "$home/open/everybody"
  chmod 4755 "$home/open/setuid"
  echo "page of STORY" > "$home/www/index.html"
  echo line | tee /var/log/STORY/app.log.1 /var/log/STORY/app.log /srv/STORY/logs/shop.log.2.gz > "$home/left alone"
  touch -d '60 days ago' /var/log/STORY/app.log.1 /srv/STORY/logs/shop.log.2.gz
  touch -d '1500 days ago' "$home/left alone"
  ln -s /etc /var/log/STORY/elsewhere
  echo '0 3 * * * root true' > /etc/cron.d/STORY
  echo "word of STORY" | systemd-cat -t STORY
}

certificates() {
  mkdir -p "$home/certificates" "$home/keys"
  for name in long:60 short:3; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=${name%:*}" -days "${name#*:}" \
      -keyout "$home/keys/${name%:*}" -out "$home/keys/${name%:*}.pem" 2>/dev/null
  done
  cp "$home/keys/long.pem" "$home/certificates/"
  cat "$home/keys/long.pem" "$home/keys/short.pem" > "$home/chain"
}

# Answers as an NTP server does, with a clock that is some seconds ahead.
clock() {
  cat > "$home/clock.py" <<'PYTHON'
import socket, struct, sys, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    asked, sender = udp.recvfrom(512)
    now = time.time() + int(sys.argv[2]) + 2_208_988_800
    stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
    udp.sendto(b"\x24\x01" + bytes(22) + asked[40:48] + stamp + stamp, sender)
PYTHON
}

units() {
  printf '[Service]\nExecStart=/bin/sleep infinity\n' > /run/systemd/system/STORY-good.service
  printf '[Service]\nExecStart=/bin/false\n' > /run/systemd/system/STORY-bad.service
  systemctl daemon-reload
  systemctl start STORY-good STORY-bad
  run() { systemd-run --quiet --unit="STORY-$1" -- "$@"; }
  run busybox httpd -f -p 127.0.0.1:18080 -h "$home/www"
  run openssl s_server -accept 127.0.0.1:18443 -cert "$home/keys/long.pem" -key "$home/keys/long" -www
  run sh -c 'sleep 0 & exec sleep infinity'
  systemd-run --quiet --unit=STORY-clock -- python3 "$home/clock.py" 10123 0
  systemd-run --quiet --unit=STORY-skewed -- python3 "$home/clock.py" 10124 60
}

people() {
  useradd --no-create-home STORY
  echo STORY:of-the-story | chpasswd
  chage --maxdays 5 STORY
}

remove
if [ "WISH" = prepare ]; then
  files
  certificates
  clock
  units
  people
  [ "$(uname -n)" != vm1 ] || echo linux-image | tee /run/reboot-required.pkgs > /run/reboot-required
fi
