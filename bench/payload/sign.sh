#!/bin/sh
# Sign the request on standard input with the CA in the folder $1, for the server $2 at the address $3.
set -eu
openssl x509 -req -CA "$1/ca.pem" -CAkey "$1/ca-key.pem" -set_serial "0x$(openssl rand -hex 16)" -days 397 \
	-extfile /dev/fd/3 3<<END 2>/dev/null
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:$2,DNS:$2.local,DNS:localhost,IP:$3,IP:127.0.0.1
END
