# shellcheck shell=bash
# For the scripts below tests/ that run what needs a newer node than the system may have: sourced.

node_version=24.21.0

# Sets `node` to one of version 22 or newer. Where the system has an older one, a newer one is
# installed below the folder $1, for npm cannot do without a node to begin with.
install_node() {
  local folder=$1 package
  node=$(command -v node) || die "node is missing"
  "$node" -e 'process.exit(process.versions.node.split(".")[0] >= 22 ? 0 : 1)' && return
  package=node-$(node -p 'process.platform + "-" + process.arch')
  node=$folder/node_modules/$package/bin/node
  [[ $("$node" --version 2> /dev/null) == "v$node_version" ]] && return
  echo "installing node $node_version"
  rm -rf "$folder"
  mkdir -p "$folder"
  # With a package.json of its own, npm takes this folder and not one above it.
  echo '{"private":true}' > "$folder/package.json"
  (cd "$folder" &&
    retry npm install --ignore-scripts --no-audit --no-fund --loglevel=error "$package@$node_version") ||
    die "node $node_version could not be installed"
}

# A registry has its moments; one more try tells them from a version that is gone.
retry() {
  "$@" && return
  echo "trying again: ${*##*/}" >&2
  sleep 5
  "$@"
}
