# Puts what is delivered into one folder, with a list of checksums.
set -eu
rm -rf package
mkdir -p package/bin package/include
cp words package/bin/
cp src/words.h package/include/
(cd package && cksum bin/* include/* >MANIFEST)
cat package/MANIFEST
