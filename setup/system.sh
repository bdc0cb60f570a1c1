# What a fresh Debian 12 may lack: the libraries Blender links to, and venv. Installs only what is missing. Sourced; knows no Python packages.

say() { printf '\033[1m%s\033[0m\n' "$*"; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo "$@"
    else
        say "Found no root rights and no sudo; needed to run: $*. Run that once as root, then this again." >&2
        return 1
    fi
}

# ldconfig lives in /sbin, which is not on every user's PATH.
known_libraries=$(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p 2>/dev/null || true)

missing_packages() {
    local pair library
    for pair in libxrender1=libXrender.so.1 libxfixes3=libXfixes.so.3 libxi6=libXi.so.6 libxkbcommon0=libxkbcommon.so.0 \
        libsm6=libSM.so.6 libgl1=libGL.so.1 libgomp1=libgomp.so.1 libxxf86vm1=libXxf86vm.so.1 libegl1=libEGL.so.1; do
        library=${pair#*=}
        case "$known_libraries" in *"$library "*) ;; *) printf '%s ' "${pair%%=*}" ;; esac
    done
    "$1" -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv '
}

python311() {
    local name
    for name in python3.11 python3 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then command -v "$name"; return; fi
    done
    say "Found no Python 3.11; Blender's wheels are built for exactly that one. On Debian 12: apt-get install python3" >&2
    return 1
}

install_system() {
    local missing
    missing=$(missing_packages "$1")
    [ -n "$missing" ] || return 0
    say "Installing system libraries (about 60 MB to download): $missing"
    # shellcheck disable=SC2086  # a list of package names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing ||
        { as_root apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; }
}
