#!/bin/sh
# Make a CA and a client certificate of it in the folder $1, with openssl, unless they are there.
set -eu
umask 077
mkdir -p "$1"
cd "$1"
test ! -s cert.pem || exit 0
curve='-algorithm EC -pkeyopt ec_paramgen_curve:P-256'
openssl genpkey $curve -out ca-key.pem
openssl req -x509 -new -key ca-key.pem -days 3650 -subj '/CN=bench cluster CA' -out ca.pem \
	-addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
openssl genpkey $curve -out key.pem
openssl req -new -key key.pem -subj '/CN=cluster owner' |
	openssl x509 -req -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 397 -out cert.new \
		-extfile /dev/fd/3 3<<END 2>/dev/null
basicConstraints=critical,CA:FALSE
extendedKeyUsage=clientAuth
END
mv cert.new cert.pem
