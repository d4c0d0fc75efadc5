#!/usr/bin/env bash
# Measures gradus against its peers; README.md says how.
#     bash benches/peers/run.sh [--quick] [--runs N] [--only NAME]
# GRADUS_PEERS_VENV is an existing Python environment to use instead of the one that is made in target/peers/venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() {
  printf 'skipped: %s\n' "$*" >&2
  exit 0
}

venv=${GRADUS_PEERS_VENV:-target/peers/venv}
if [ -z "${GRADUS_PEERS_VENV:-}" ] && ! cmp -s benches/peers/requirements.txt "$venv/installed.txt"; then
  command -v python3 >/dev/null || skip 'there is no python3'
  mkdir -p target/peers
  python3 -m venv "$venv" || skip 'python3 -m venv does not work here'
  # One by one: a peer that cannot be installed is left out, and tried again at the next run.
  missing=0
  while read -r requirement; do
    echo "installing $requirement" >&2
    "$venv/bin/python" -m pip install --quiet "$requirement" && continue
    case $requirement in
      numpy*) skip "$requirement, which also makes the data, could not be installed: is there a network?" ;;
    esac
    echo "left out: $requirement could not be installed" >&2
    missing=1
  done < benches/peers/requirements.txt
  [ "$missing" = 1 ] || cp benches/peers/requirements.txt "$venv/installed.txt"
fi
"$venv/bin/python" -c 'import numpy' 2>/dev/null || skip "$venv has no NumPy, which also makes the data"
# No folders of compiled Python beside the sources.
export PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" benches/peers/run.py "$@"
