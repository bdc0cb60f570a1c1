#!/usr/bin/env bash
# From a fresh clone to a film: sets up what is missing, then captures and generates the bundled exterior scene.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
. "$here/system.sh"
python=$(python311)
install_system "$python"
exec "$python" "$here/demo.py" "$@"
