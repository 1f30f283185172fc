# Sourced by every script: where builds go and how C++ is compiled.
# The build cache lies outside the clone, so that a clean checkout finds RocksDB already built.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/s3-orchestrator/target}"
export CCACHE_DIR="${CCACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/s3-orchestrator/ccache}"
export CCACHE_MAXSIZE="${CCACHE_MAXSIZE:-4G}"
if command -v ccache >/dev/null 2>&1; then
  export CC="${CC:-ccache cc}" CXX="${CXX:-ccache c++}"
fi
# The Python clients of the tests.
export S3O_VENV="${S3O_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/s3-orchestrator/venv}"
# Tools that are built here: cargo-deb, cargo-generate-rpm, file system suites.
export S3O_TOOLS="${S3O_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/s3-orchestrator/tools}"
# What the tests of the packages install into.
export S3O_CLEAN_ROOT="${S3O_CLEAN_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/s3-orchestrator/clean-root.tar}"
