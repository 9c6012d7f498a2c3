#!/bin/sh
# Prints the path of a bitcoind, and installs one first where there is none (Debian, Ubuntu; as root).
#
#   export BITCOIND_EXE=$(scripts/bitcoind.sh)
#
# Order: $BITCOIND_EXE, `bitcoind` on PATH, a copy that an earlier run installed, a fresh install. The install
# is a minimal Debian trixie in DIR with bitcoin-knots from trixie-backports, and a wrapper that runs the
# daemon through that system's own loader: no chroot and no root are needed to run it, and `exec` keeps the pid.
#
#   scripts/bitcoind.sh [DIR]    DIR is ${XDG_CACHE_HOME:-~/.cache}/lnode-bitcoind unless given
#
# MIRROR names another Debian mirror. Only the path goes to stdout; the install talks to DIR.log.
set -eu

fail() {
    echo "bitcoind.sh: $*" >&2
    exit 1
}

if [ -n "${BITCOIND_EXE:-}" ] && [ -x "$BITCOIND_EXE" ]; then
    echo "$BITCOIND_EXE"
    exit 0
fi
if command -v bitcoind 2>/dev/null; then
    exit 0
fi

dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/lnode-bitcoind}
wrapper=$dir/bitcoind
# The wrapper is written last, so it stands for a finished install.
if [ -x "$wrapper" ]; then
    echo "$wrapper"
    exit 0
fi

[ "$(id -u)" = 0 ] || fail "no bitcoind found; set BITCOIND_EXE, or run this as root to install one"
command -v apt-get >/dev/null || fail "no bitcoind found; installing one needs Debian or Ubuntu"
case $(uname -m) in
    x86_64) loader=lib64/ld-linux-x86-64.so.2 triple=x86_64-linux-gnu ;;
    aarch64) loader=lib/ld-linux-aarch64.so.1 triple=aarch64-linux-gnu ;;
    *) fail "no bitcoind found; installing one is known to work on x86_64 and aarch64 only" ;;
esac
mirror=${MIRROR:-http://deb.debian.org/debian}
root=$dir/root
log=$dir.log
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
mkdir -p "$dir"
echo "bitcoind.sh: installing bitcoin-knots in $dir (some minutes, about 500 MB; log: $log)" >&2

install() {
    command -v debootstrap >/dev/null || apt-get install -y debootstrap debian-archive-keyring \
        || { apt-get update && apt-get install -y debootstrap debian-archive-keyring; }
    # A half-made root of an interrupted run is of no use to debootstrap.
    [ -e "$root/etc/apt/trixie-done" ] || {
        rm -rf "$root"
        debootstrap --variant=minbase trixie "$root" "$mirror"
        touch "$root/etc/apt/trixie-done"
    }
    # The host's way out (proxy, name servers) is the guest's too.
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/" || true
    cp -L /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" || true
    echo "deb $mirror trixie-backports main" > "$root/etc/apt/sources.list.d/backports.list"
    chroot "$root" apt-get update
    chroot "$root" apt-get install -y --no-install-recommends -t trixie-backports bitcoin-knots
    chroot "$root" apt-get clean
}
# A subshell with its own -e: inside `if` or `||` the shell would go on after a failed step.
set +e
( set -e; install ) > "$log" 2>&1
status=$?
set -e
[ $status = 0 ] || { tail -n 5 "$log" >&2; fail "install failed; see $log"; }
[ -x "$root/usr/bin/bitcoind" ] || fail "the package brought no bitcoind; see $log"

for program in bitcoind bitcoin-cli; do
    [ -x "$root/usr/bin/$program" ] || continue
    cat > "$dir/.$program" <<WRAPPER
#!/bin/sh
R='$root'
exec "\$R/$loader" --library-path "\$R/usr/lib/$triple:\$R/lib/$triple" "\$R/usr/bin/$program" "\$@"
WRAPPER
    chmod +x "$dir/.$program"
done
"$dir/.bitcoind" -version >> "$log" 2>&1 || fail "the installed bitcoind does not run; see $log"
[ ! -e "$dir/.bitcoin-cli" ] || mv "$dir/.bitcoin-cli" "$dir/bitcoin-cli"
mv "$dir/.bitcoind" "$wrapper"
echo "$wrapper"
