#!/usr/bin/env bash
# Packs micrec into one file that runs on a machine where only a C library, a torch and, for GPUs, a driver are.
#
#   launcher/bundle.sh OUT.tar.zst [--cuda_arch=90] [--build=FOLDER]
#
# OUT           .tar.zst, or .tar.gz for machines whose tar has no zstd
# --cuda_arch   GPU architectures to compile for, with commas between; by default what the build folder has, 90 in a new one
# --build       the build folder, which must be configured where it is not build-bundle/ (the default, made here)
#
# The file holds one folder, bundle/: micrec, tests and benchmarks for GPUs, the libraries that they load and the C library
# and torch do not bring, and Open MPI with its launcher. It finds its parts from where it lies; bundle/README.txt says more.
# Needs patchelf and zstd (launcher/setup.sh installs them).
set -euo pipefail
usage() { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'bundle: %s\n' "$*" >&2; exit 1; }

out="" build="" architectures=""
for word in "$@"; do
  case $word in
    --cuda_arch=?*) architectures=${word#*=} ;;
    --build=?*) build=$(realpath -m "${word#*=}") ;;
    -*) usage ;;
    *) [[ -z $out ]] || usage; out=$(realpath -m "$word") ;;
  esac
done
case $out in
  *.tar.zst) compress=(zstd -q -T0 -12) ;;
  *.tar.gz) compress=(gzip -9) ;;
  *) usage ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for tool in patchelf "${compress[0]}" readelf strip; do
  command -v "$tool" >/dev/null || fail "$tool is missing; launcher/setup.sh installs it (apt-get install patchelf zstd binutils)"
done

# --- Build --------------------------------------------------------------------------------------------------------------
programs=(micrec compare_embeddings benchmark_gpu benchmark_gpu_ranking test_gpu_kernels test_nccl_contract)
options=()
if [[ -z $build ]]; then
  build=$PWD/build-bundle
  [[ -n $architectures || -f $build/CMakeCache.txt ]] || architectures=90
fi
[[ -z $architectures ]] || options+=("-DCMAKE_CUDA_ARCHITECTURES=${architectures//,/;}")
if [[ ! -f $build/CMakeCache.txt ]]; then
  cmake --preset release -B "$build" --log-level=WARNING "${options[@]}" >&2
elif [[ ${#options[@]} -gt 0 ]]; then
  cmake -B "$build" --log-level=WARNING "${options[@]}" >&2
fi
say "Building in $build"
cmake --build "$build" --target "${programs[@]}" >&2

# --- What is packed ------------------------------------------------------------------------------------------------------
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle=$work/bundle
mkdir -p "$bundle"/{bin,libexec,lib,share,tests/gpu,tests/benchmarks/gpu}
built() { sed -n "s/^$1=//p" "$build/bundle.txt"; }
torch=$(built torch_folder)
packages=$(dirname "$torch")

for program in "${programs[@]}"; do
  from=$build/$program
  [[ -f $from ]] || from=$build/tests/$program
  cp "$from" "$bundle/libexec/"
done
install -m 755 launcher/bundle/start "$bundle/bin/micrec"
cp launcher/bundle/README.txt "$bundle/"
cp tests/gpu/{check.sh,*.py} "$bundle/tests/gpu/"
cp tests/benchmarks/gpu/*.py "$bundle/tests/benchmarks/gpu/"

# Open MPI: the launcher, the daemon that it starts on other machines, modules, help texts and settings.
mpirun=$(realpath "$(built mpirun)")
[[ $("$mpirun" --version 2>/dev/null) =~ (Open MPI|OpenRTE) ]] || fail "$mpirun is not Open MPI's; only that one is packed"
ompi_info=$(dirname "$mpirun")/ompi_info
path_of() { "$ompi_info" --parsable --path "$1" | cut -d: -f3; }
cp "$mpirun" "$bundle/libexec/mpirun"
cp "$(dirname "$mpirun")/orted" "$bundle/libexec/orted"
mkdir -p "$bundle"/{lib/openmpi,lib/pmix,share/openmpi,share/pmix,etc}
cp -L "$(path_of pkgdatadir)"/*.txt "$bundle/share/openmpi/"
rm -f "$bundle"/share/openmpi/*wrapper-data.txt
for name in mpirun orted run "${programs[@]:1}"; do ln -s micrec "$bundle/bin/$name"; done

# --- Libraries -------------------------------------------------------------------------------------------------------------
# What the target has: the C library, the compiler's run time, and all that lies beside torch.
of_target='^(ld-linux.*|lib(c|m|dl|rt|util|pthread|resolv|nsl|anl|mvec|nss_.*|stdc\+\+|gcc_s|gomp|cuda|nvidia-.*))\.so'
# Networks that carry nothing of micrec: its ranks talk to each other by TCP and shared memory on hosts, by NCCL on GPUs.
networks='^lib(fabric|ucp|ucs|uct|ucm|ibverbs|rdmacm|psm2|psm_infinipath|oshmem|mca_common_(ucx|ofi|verbs|ompio|monitoring))\.so'

# libraries_of FILE...: a line "name path" for each library that they load, and those load, and so on.
libraries_of() {
  LD_LIBRARY_PATH="$torch/lib:$(printf '%s:' "$packages"/nvidia/*/lib)" ldd "$@" 2>/dev/null |
    awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}  $2 == "=>" && $3 == "not" {print $1, "-"}' | sort -u
}

take_libraries() {  # of the files given
  local name path
  while read -r name path; do
    [[ ! $name =~ $of_target ]] || continue
    [[ $path != - ]] || fail "$name, which $* load, is not found on this machine"
    path=$(realpath "$path")
    [[ $path != "$(realpath "$torch")"/* && $path != "$(realpath "$packages")"/nvidia/* ]] || continue
    [[ -f $bundle/lib/$name ]] || cp "$path" "$bundle/lib/$name"
  done < <(libraries_of "$@")
}

take_modules() {  # FOLDER TO: the modules that need no network of the above
  local module
  for module in "$1"/*mca_*.so; do
    [[ ! ${module##*/} =~ mca_(io|fs|fcoll|fbtl|sharedfp|oshmem|memheap|spml|sshmem|scoll|atomic|crs)_ ]] || continue  # MPI-IO, OpenSHMEM
    if libraries_of "$module" | awk '{print $1}' | grep -qE "$networks"; then continue; fi
    cp -L "$module" "$2/"
    take_libraries "$module"
  done
}

say "Collecting libraries"
take_libraries "$bundle"/libexec/*
take_modules "$(path_of pkglibdir)" "$bundle/lib/openmpi"
# PMIx is a library of its own, with modules and texts beside it.
pmix=$(libraries_of "$(path_of pkglibdir)/mca_pmix_ext3x.so" | awk '$1 ~ /^libpmix/ {print $2}')
if [[ -n $pmix ]]; then
  pmix=$(dirname "$(realpath "$pmix")")
  take_modules "$pmix/pmix" "$bundle/lib/pmix"
  cp -L "$(dirname "$pmix")"/share/pmix/*.txt "$bundle/share/pmix/"
fi

say "Stripping, and setting where each finds the others"
while read -r file; do
  strip --strip-unneeded "$file"
  folder=${file#"$bundle"/} folder=${folder%/*}
  case $folder in
    libexec) libraries="\$ORIGIN/../lib" ;;
    lib) libraries="\$ORIGIN" ;;
    *) libraries="\$ORIGIN/.." ;;
  esac
  patchelf --force-rpath --set-rpath "$libraries" "$file"  # DT_RPATH: for what they load as well, and before LD_LIBRARY_PATH
done < <(find "$bundle" -type f \( -path '*/libexec/*' -o -name '*.so*' \))

# --- What it needs ---------------------------------------------------------------------------------------------------------
newest() {  # PREFIX: the newest version that a file of the bundle asks of a library
  find "$bundle/libexec" "$bundle/lib" -type f -exec readelf -V {} + 2>/dev/null | grep -oE "\b$1_[0-9.]+" |
    sed "s/^$1_//" | sort -uV | tail -n 1
}
cat >"$bundle/needs" <<TEXT
glibc=$(newest GLIBC)
libstdcxx=GLIBCXX_$(newest GLIBCXX)
torch=$(built torch)
cuda=$(built cuda)
TEXT
sed -i "s/@GLIBC@/$(newest GLIBC)/; s/@TORCH@/$(built torch)/; s/@LIBSTDCXX@/GLIBCXX_$(newest GLIBCXX)/" "$bundle/README.txt"

say "Packing"
mkdir -p "$(dirname "$out")"
tar --sort=name --owner=0 --group=0 --numeric-owner -C "$work" -cf - bundle | "${compress[@]}" >"$out.part"
mv "$out.part" "$out"
say "$out: $(($(stat -c %s "$out") / 1024)) KiB, unpacked $(du -sk "$bundle" | cut -f1) KiB; it needs glibc $(newest GLIBC)"
