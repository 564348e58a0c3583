#!/usr/bin/env bash
# The programs that tests need beside Python, and the Debian package that has each. Missing ones are
# installed where this runs as root on Debian; elsewhere they are named, and their tests skip.
set -u
needed="
node:nodejs
npm:npm
chromium:chromium
chromedriver:chromium-driver
sshd:openssh-server
ssh:openssh-client
ip:iproute2
ps:procps
rsync:rsync
hostname:hostname
redis-server:redis-server
"
missing=()
for entry in $needed; do
  command -v "${entry%%:*}" >/dev/null 2>&1 || missing+=("${entry#*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "==> installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update >/dev/null && apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "Some tests will skip: they need the Debian packages ${missing[*]} (apt-get install ${missing[*]})."
fi
