#!/usr/bin/env bash
# Sets up what is missing, then runs every test: outside Blender, and inside Blender 4.2, 4.5 and 5.0.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
. "$here/system.sh"
python=$(python311)
install_system "$python"
exec "$python" "$here/tests.py" "$@"
