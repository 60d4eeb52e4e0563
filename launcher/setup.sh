#!/usr/bin/env bash
# From a fresh Debian or Ubuntu machine to a built program: installs what is missing, puts LibTorch into the user's
# cache folder, configures and builds build/. What is there already is left alone, so a second time is quick.
#
#   launcher/setup.sh [TARGET...]      what to build; everything by default
#
# MICREC_TORCH=FOLDER   use this torch, LibTorch or Python environment instead of downloading one
# MICREC_WITH_CUDA      AUTO (default), ON or OFF
# CI=true               treat warnings as errors
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"

say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# --- Packages -----------------------------------------------------------------------------------------------------------
needed=(g++ cmake ninja-build libopenmpi-dev openmpi-bin libhdf5-dev libgoogle-glog-dev libgflags-dev libgtest-dev libgmock-dev
        libmetis-dev libsimdjson-dev nlohmann-json3-dev libcpp-httplib-dev libhnswlib-dev libxxhash-dev libdeflate-dev zlib1g-dev libbz2-dev liblzma-dev libzstd-dev)
wanted=(ccache mold clang-format-14 libfaiss-dev)  # Without them the build is slower, one test is skipped, or export writes no index.
[[ $# -gt 0 ]] || wanted+=(slurm-wlm munge patchelf zstd)  # For the tests of batch scripts and bundles: only where everything is built.
[[ "${CI:-}" != true ]] || wanted+=(shellcheck chromium)
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then needed+=(python3 python3-venv); fi

gcc_version() { g++ -dumpversion 2>/dev/null | cut -d. -f1; }
is_installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'; }
is_offered() { apt-cache show "$1" >/dev/null 2>&1; }

install_packages() {
  local missing=() package
  for package in "${needed[@]}" "${wanted[@]}"; do is_installed "$package" || missing+=("$package"); done
  [[ ${#missing[@]} -gt 0 ]] || return 0

  local as_root=()
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || fail "these packages are missing and neither root nor sudo is at hand; ask for: ${missing[*]}"
    as_root=(sudo)
    [[ -t 0 ]] || as_root=(sudo -n)
  fi
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
  say "Installing ${missing[*]}"
  "${apt[@]}" update >&2 || say "apt-get update had errors; going on with the package lists that are there"
  local install=()
  for package in "${missing[@]}"; do
    if is_offered "$package"; then
      install+=("$package")
    elif [[ " ${wanted[*]} " == *" $package "* ]]; then
      say "This system offers no package $package; going on without it"
    else
      fail "this system offers no package $package, which the build needs; is Ubuntu's universe repository switched on?"
    fi
  done
  [[ ${#install[@]} -gt 0 ]] || return 0
  "${apt[@]}" install --no-install-recommends "${install[@]}" >&2 </dev/null ||
    fail "apt-get could not install the packages named above; its messages say why"
}

if command -v apt-get >/dev/null; then
  install_packages
  if [[ "$(gcc_version)" -lt 12 ]]; then  # Ubuntu 22.04, which offers a newer one beside it.
    needed+=(g++-12)
    install_packages
  fi
else
  say "No apt-get here: if the build misses something, install the equivalents of ${needed[*]}"
fi
if [[ -z "${CXX:-}" && "$(gcc_version)" -lt 12 ]]; then export CC=gcc-12 CXX=g++-12; fi

# --- LibTorch -----------------------------------------------------------------------------------------------------------
# One environment for all clones of this user. A lock lets one clone make it while others wait; the mark is set last, so
# that an interrupted one is seen and made again.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/micrec"
environment="$cache/torch-2.11.0"
mark="$environment/.complete"

# Is every file there that the packages list, and can Python load them? Half a gigabyte a second: only without the mark.
is_whole() {
  [[ -x "$environment/bin/python" ]] && "$environment/bin/python" - launcher/setup.requirements.txt >&2 <<'PYTHON'
import importlib.metadata, importlib, re, sys

for line in open(sys.argv[1]):
    match = re.match(r"(\w+)==", line)
    if not match:
        continue
    package = importlib.metadata.distribution(match.group(1))
    files = package.files
    if not files or not all(file.locate().exists() for file in files if file.suffix != ".pyc"):
        sys.exit(f"{match.group(1)} is not whole")
    importlib.import_module(match.group(1))
PYTHON
}

is_ready() {
  cmp -s launcher/setup.requirements.txt "$mark" && "$environment/bin/python" -c '' 2>/dev/null &&
    compgen -G "$environment/lib*/python3*/site-packages/torch/lib/libtorch_cpu.so" >/dev/null
}

make_environment() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "torch 2.11.0 needs Python 3.10 or newer and python3 is $(python3 -V); or set MICREC_TORCH"
  local free_gib
  free_gib=$(($(df -Pk "$cache" | awk 'NR == 2 {print $4}') / 1048576))
  [[ $free_gib -ge 8 ]] || fail "LibTorch takes 5 GB, 8 while it is unpacked, and $cache has $free_gib GB free; set XDG_CACHE_HOME to another disk"
  say "Fetching LibTorch into $environment (3 GB, some minutes, once for all clones)"
  rm -rf "$environment"
  python3 -m venv "$environment"
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --retries 10 \
    -r launcher/setup.requirements.txt >&2 ||
    fail "pip could not install torch; its messages are above. Try again, or set MICREC_TORCH to a torch that you have"
  is_whole || fail "the torch in $environment does not load; its messages are above"
}

if [[ -z "${MICREC_TORCH:-}" ]] && ! is_ready; then
  mkdir -p "$cache"
  exec 9>"$environment.lock"
  if ! flock -n 9; then
    say "Another set-up is fetching LibTorch; waiting for it"
    flock 9
  fi
  if ! is_ready; then
    is_whole 2>/dev/null || make_environment
    cp launcher/setup.requirements.txt "$mark"
  fi
  exec 9>&-
fi

# --- clang-tidy and schemathesis ------------------------------------------------------------------------------------------
# For continuous integration: a clang-tidy newer than the system's, which looks at our declarations and not at LibTorch's,
# and what asks the server wrong questions.
fetch_tool() {  # PROGRAM REQUIREMENTS WHAT: into an environment of its own; without it WHAT is skipped
  local folder
  folder="$cache/$(sed 's/==/-/' "$2")"
  if "$folder/bin/$1" --version >/dev/null 2>&1; then return; fi
  say "Fetching $1 into $folder"
  mkdir -p "$cache"
  { python3 -m venv --clear "$folder" &&
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir -r "$2" >&2; } ||
    say "pip could not install $1; $3 will be skipped"
}
if [[ "${CI:-}" == true ]]; then
  fetch_tool clang-tidy tests/lint/requirements.txt "its lint"
  fetch_tool schemathesis tests/serve/requirements.txt "its test of the server"
fi

# --- Build --------------------------------------------------------------------------------------------------------------
# A file of ours that includes LibTorch's headers takes the compiler 1.5 GB.
memory_gib=$(($(awk '/^MemAvailable/ {print $2}' /proc/meminfo) / 1048576))
jobs=$((memory_gib * 2 / 3))
[[ $jobs -lt $(nproc) ]] || jobs=$(nproc)
[[ $jobs -ge 1 ]] || jobs=1

say "Configuring build/"
options=("-DMICREC_TORCH=${MICREC_TORCH:-}" "-DMICREC_WITH_CUDA=${MICREC_WITH_CUDA:-AUTO}")
[[ "${CI:-}" != true ]] || options+=(-DMICREC_WERROR=ON)
cmake --preset release --log-level=WARNING "${options[@]}" >&2
say "Building with $jobs jobs"
cmake --build build -j "$jobs" --target "${@:-all}" >&2
