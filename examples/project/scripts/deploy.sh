# Copies the package beside earlier releases, checks it there, and only then switches the link that users follow.
set -eu
release=deployed/releases/$(./package/bin/words --version | cut -d' ' -f2)
rm -rf "$release"
mkdir -p "$release"
cp -R package/. "$release/"
(cd "$release" && cksum bin/* include/* | cmp - MANIFEST)
ln -sfn "releases/${release##*/}" deployed/current
echo "deployed $(deployed/current/bin/words --version) to $(pwd)/deployed/current"
