#!/bin/sh
# Builds bundle/policy.wasm and bundle/manifest.json from songhe/*.rego; with --check, only compares.
#
#   ./build.sh            build with `opa` on the PATH, or with the program named by $OPA
#   ./build.sh --check    fail if what is committed is not what the source gives
#
# The output is the same, byte for byte, for one version of OPA: another version is refused.
set -eu

OPA_VERSION=1.20.2
CONTRACT_VERSION=1
PROFILE_VERSION=1
ENTRYPOINT=songhe/access/decision

opa=${OPA:-opa}
case ${1:-} in
'') check=no ;;
--check) check=yes ;;
*)
	echo "usage: build.sh [--check]" >&2
	exit 64
	;;
esac
# Names of source files end up inside the module, so the folder we build from is part of the recipe.
cd "$(dirname "$0")"

if ! command -v "$opa" >/dev/null 2>&1; then
	echo "build.sh: no opa program; run: go install github.com/open-policy-agent/opa@v$OPA_VERSION (or set OPA=/path/to/opa)" >&2
	exit 69
fi
found=$("$opa" version | sed -n 's/^Version: //p')
if [ "$found" != "$OPA_VERSION" ]; then
	echo "build.sh: opa is version $found, but the bundle is made with $OPA_VERSION" >&2
	exit 69
fi

digest() {
	if command -v sha256sum >/dev/null 2>&1; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

"$opa" check --strict --capabilities capabilities.json --schema schema/question.schema.json songhe
"$opa" test --timeout 60s songhe tests tables:tables/data.json >"$work/tests" || {
	cat "$work/tests" >&2
	exit 1
}
"$opa" build --capabilities capabilities.json -t wasm -e "$ENTRYPOINT" -o "$work/bundle.tar.gz" songhe
tar -xzf "$work/bundle.tar.gz" -O /policy.wasm >"$work/policy.wasm" 2>/dev/null

{
	echo '{'
	echo '  "policy_id": "songhe.access",'
	echo "  \"entrypoint\": \"$ENTRYPOINT\","
	echo "  \"contract_version\": $CONTRACT_VERSION,"
	echo "  \"profile_version\": $PROFILE_VERSION,"
	echo "  \"opa_version\": \"$OPA_VERSION\","
	echo '  "sources": {'
	comma=
	for source in songhe/*.rego; do
		[ -z "$comma" ] || echo "$comma"
		printf '    "%s": "%s"' "$source" "$(digest "$source")"
		comma=','
	done
	echo
	echo '  },'
	echo "  \"wasm_sha256\": \"$(digest "$work/policy.wasm")\""
	echo '}'
} >"$work/manifest.json"

if [ "$check" = yes ]; then
	for file in policy.wasm manifest.json; do
		if ! cmp "$work/$file" "bundle/$file" >&2; then
			echo "build.sh: bundle/$file is not what the source gives; run build.sh and commit the result" >&2
			exit 1
		fi
	done
	echo "bundle is up to date"
else
	mkdir -p bundle
	# The manifest goes last: between the two the node refuses the pair, it never runs a mismatched one.
	mv "$work/policy.wasm" bundle/policy.wasm
	mv "$work/manifest.json" bundle/manifest.json
	chmod 644 bundle/policy.wasm bundle/manifest.json
	echo "built bundle/policy.wasm $(digest bundle/policy.wasm)"
fi
